from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from common.errors import SignatureError
from common.masking.agreement import (
    SignedKey,
    announce,
    check_roster,
    pair_secrets,
    roster_digest,
)
from common.masking.fixed_point import framed, to_text
from common.masking.identity import fingerprint, public_text, sign
from common.messages.codec import decode, encode

SITES = ("cuh", "nan", "qfs", "west")
RUN, STUDY, SESSION = "run-1", "5" * 64, "session-1"


@dataclasses.dataclass
class Consortium:
    identities: dict[str, Ed25519PrivateKey]
    roster: dict[str, str]
    digest: str
    private: dict[str, X25519PrivateKey]
    keys: dict[str, SignedKey]

    def check(self, *changed: SignedKey, run: str = RUN, study: str = STUDY) -> Any:
        keys = {**self.keys, **{key.site: key for key in changed}}
        return check_roster(tuple(keys.values()), self.roster, run, study, self.digest, SESSION)

    def announce(
        self,
        site: str,
        run: str = RUN,
        study: str = STUDY,
        roster: str = "",
        session: str = SESSION,
    ) -> Any:
        return announce(self.identities[site], site, run, study, roster or self.digest, session)


@pytest.fixture
def consortium() -> Consortium:
    identities = {site: Ed25519PrivateKey.generate() for site in SITES}
    roster = {site: public_text(key.public_key()) for site, key in identities.items()}
    made = Consortium(identities, roster, roster_digest(roster), {}, {})
    for site in SITES:
        made.private[site], made.keys[site] = made.announce(site)
    return made


def test_announced_keys_pass_also_after_a_message_and_in_any_order(
    consortium: Consortium,
) -> None:
    sent = decode(encode(tuple(reversed(consortium.keys.values()))))
    found = check_roster(sent, consortium.roster, RUN, STUDY, consortium.digest, SESSION)
    assert list(found) == sorted(SITES)
    assert all(found[site] == consortium.private[site].public_key() for site in SITES)


def test_both_sites_of_a_pair_get_one_secret_and_every_pair_another(
    consortium: Consortium,
) -> None:
    keys = consortium.check()
    secrets = {
        site: pair_secrets(consortium.private[site], site, keys, RUN, consortium.digest)
        for site in SITES
    }
    for site in SITES:
        assert set(secrets[site]) == set(SITES) - {site}
        assert all(secrets[site][peer] == secrets[peer][site] for peer in secrets[site])
    different = {secret for of_site in secrets.values() for secret in of_site.values()}
    assert len(different) == len(SITES) * (len(SITES) - 1) // 2


def test_another_run_or_roster_gives_unrelated_secrets(consortium: Consortium) -> None:
    keys, private = consortium.check(), consortium.private["cuh"]
    secrets = {
        pair_secrets(private, "cuh", keys, run, roster)["nan"]
        for run in (RUN, "run-2")
        for roster in (consortium.digest, "0" * 64)
    }
    assert len(secrets) == 4


def test_a_key_that_the_coordinator_swapped_is_found(consortium: Consortium) -> None:
    own = X25519PrivateKey.generate().public_key().public_bytes_raw()
    swapped = dataclasses.replace(consortium.keys["qfs"], public_key=base64.b64encode(own).decode())
    with pytest.raises(SignatureError, match="site qfs: its ephemeral key is not") as caught:
        consortium.check(swapped)
    spoken = fingerprint(consortium.identities["qfs"].public_key())
    assert spoken in caught.value.remedy


def test_a_key_signed_by_another_identity_is_found(consortium: Consortium) -> None:
    intruder = Ed25519PrivateKey.generate()
    _, key = announce(intruder, "nan", RUN, STUDY, consortium.digest, SESSION)
    with pytest.raises(SignatureError, match="site nan: its ephemeral key is not"):
        consortium.check(key)


def test_a_site_cannot_announce_a_key_for_another(consortium: Consortium) -> None:
    relabelled = dataclasses.replace(consortium.keys["qfs"], site="nan")
    with pytest.raises(SignatureError, match="site nan: its ephemeral key is not"):
        consortium.check(relabelled)


@pytest.mark.parametrize(
    ("what", "other"),
    [("run", "run-0"), ("study", "6" * 64), ("roster", "7" * 64), ("session", "session-0")],
)
def test_a_key_replayed_from_elsewhere_is_found(
    consortium: Consortium, what: str, other: str
) -> None:
    _, replayed = consortium.announce("west", **{what: other})
    with pytest.raises(SignatureError, match=rf"site west: .* another {what}"):
        consortium.check(replayed)
    now = {"run": RUN, "study": STUDY, "roster": consortium.digest, "session": SESSION}[what]
    relabelled = dataclasses.replace(replayed, **{what: now})
    with pytest.raises(SignatureError, match="site west: its ephemeral key is not"):
        consortium.check(relabelled)


def test_a_missing_a_double_and_an_unknown_site_are_named(consortium: Consortium) -> None:
    keys = tuple(consortium.keys.values())
    arguments = (consortium.roster, RUN, STUDY, consortium.digest, SESSION)
    with pytest.raises(SignatureError, match="site west: the key of this site is missing"):
        check_roster(keys[:-1], *arguments)
    with pytest.raises(SignatureError, match="site cuh: there are two keys"):
        check_roster((*keys, keys[0]), *arguments)
    _, stranger = announce(
        Ed25519PrivateKey.generate(), "new", RUN, STUDY, consortium.digest, SESSION
    )
    with pytest.raises(SignatureError, match="key of 'new': no site of this name"):
        check_roster((*keys, stranger), *arguments)


def test_a_roster_that_was_not_approved_is_found(consortium: Consortium) -> None:
    intruder = public_text(Ed25519PrivateKey.generate().public_key())
    changed = {**consortium.roster, "nan": intruder}
    with pytest.raises(SignatureError, match="roster: its sites or their identity keys"):
        check_roster(consortium.keys.values(), changed, RUN, STUDY, consortium.digest, SESSION)


@pytest.mark.parametrize("text", ["", "A" * 43 + "="])
def test_a_site_without_a_usable_identity_key_is_named(consortium: Consortium, text: str) -> None:
    changed = {**consortium.roster, "nan": text}
    with pytest.raises(SignatureError, match="site nan: its identity key is"):
        check_roster(consortium.keys.values(), changed, RUN, STUDY, roster_digest(changed), SESSION)


def test_one_party_cannot_sit_on_the_roster_twice(consortium: Consortium) -> None:
    changed = {**consortium.roster, "nan": consortium.roster["cuh"]}
    with pytest.raises(SignatureError, match="site nan: its key is also that of site cuh"):
        check_roster(consortium.keys.values(), changed, RUN, STUDY, roster_digest(changed), SESSION)


def test_a_site_cannot_pass_off_the_key_of_another_as_its_own(consortium: Consortium) -> None:
    raw = consortium.private["cuh"].public_key().public_bytes_raw()
    message = framed("nan", RUN, STUDY, consortium.digest, SESSION, raw, "0", "", "")
    signature = to_text(sign(consortium.identities["nan"], "ephemeral key", message))
    copied = SignedKey("nan", RUN, STUDY, consortium.digest, SESSION, to_text(raw), signature)
    with pytest.raises(SignatureError, match="site nan: its key is also that of site cuh"):
        consortium.check(copied)


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": "AAAA"},
        {"public_key": "\ud800"},
        {"public_key": 7},
        {"signature": ""},
        {"signature": None},
        {"signature": "A" * 88},
    ],
)
def test_malformed_fields_are_the_fault_of_their_site(
    consortium: Consortium, change: dict[str, Any]
) -> None:
    with pytest.raises(SignatureError, match="site qfs: its ephemeral key is not"):
        consortium.check(dataclasses.replace(consortium.keys["qfs"], **change))


def test_a_site_notices_that_its_own_key_is_another(consortium: Consortium) -> None:
    _, second = consortium.announce("cuh")
    keys = consortium.check(second)
    with pytest.raises(SignatureError, match=r"site cuh: .* another key of this site"):
        pair_secrets(consortium.private["cuh"], "cuh", keys, RUN, consortium.digest)


def test_a_key_that_gives_no_secret_is_named(consortium: Consortium) -> None:
    keys = {**consortium.check(), "qfs": X25519PublicKey.from_public_bytes(bytes(32))}
    with pytest.raises(SignatureError, match="site qfs: its ephemeral key gives no secret"):
        pair_secrets(consortium.private["cuh"], "cuh", keys, RUN, consortium.digest)


def test_roster_digests_change_with_every_name_and_key_but_not_with_the_order() -> None:
    roster = {"a": "k1", "b": "k2"}
    digest = roster_digest(roster)
    assert roster_digest(dict(reversed(roster.items()))) == digest
    others = [{"a": "k2", "b": "k1"}, {"a": "k1"}, {"a": "k1", "c": "k2"}, {**roster, "c": "k3"}]
    assert len({digest, *map(roster_digest, others)}) == 5


# RFC 7748, section 6.1
ALICE = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"
ALICE_PUBLIC = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
BOB = "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"
BOB_PUBLIC = "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
SHARED = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_pair_secrets_are_hkdf_of_the_shared_secret_of_rfc_7748() -> None:
    alice = X25519PrivateKey.from_private_bytes(bytes.fromhex(ALICE))
    bob = X25519PrivateKey.from_private_bytes(bytes.fromhex(BOB))
    keys = {
        "bob": X25519PublicKey.from_public_bytes(bytes.fromhex(BOB_PUBLIC)),
        "alice": X25519PublicKey.from_public_bytes(bytes.fromhex(ALICE_PUBLIC)),
    }
    info = b"".join(
        len(part).to_bytes(8, "big") + part
        for part in (
            b"fedlnm-masking-1",
            b"pair",
            b"run-1",
            b"alice",
            bytes.fromhex(ALICE_PUBLIC),
            b"bob",
            bytes.fromhex(BOB_PUBLIC),
        )
    )
    extracted = hmac.digest(bytes.fromhex("ab" * 32), bytes.fromhex(SHARED), hashlib.sha256)
    expected = hmac.digest(extracted, info + b"\x01", hashlib.sha256)
    assert pair_secrets(alice, "alice", keys, "run-1", "ab" * 32) == {"bob": expected}
    assert pair_secrets(bob, "bob", keys, "run-1", "ab" * 32) == {"alice": expected}
