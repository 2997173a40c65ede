"""Pairwise secrets of the sites: signed X25519 keys (RFC 7748) that last one enrolment."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import PROTOCOL, framed, from_text, hkdf_sha256, to_text
from common.messages.plain import plain

PUBLIC_BYTES = 32
_PURPOSE = "ephemeral key"
_ASK_AGAIN = "let all sites announce new keys for this run; if it happens again, ask the site"


@plain
class SignedKey:
    """A site's X25519 public key for one enrolment in a run, signed with its identity key.

    `study` and `roster` are digests (hexadecimal), `session` is the coordinator's name of the
    enrolment, `public_key` and `signature` are base64. `entries` and `ledger` are number and last
    hash of the entries that the site's ledger had: other sites notice if it has fewer later.
    `start` names the start of the site's program that made the key (empty in a simulation): two
    studies of one start may announce their keys out of order.
    """

    site: str
    run: str
    study: str
    roster: str
    session: str
    public_key: str
    signature: str
    entries: int = 0
    ledger: str = ""
    start: str = ""


def roster_digest(roster: Mapping[str, str]) -> str:
    """Return the SHA-256 of site names and identity keys (base64), independent of their order."""
    pairs = [part for site in sorted(roster) for part in (site, roster[site])]
    return hashlib.sha256(framed(PROTOCOL, "roster", *pairs)).hexdigest()


def announce(
    private: Ed25519PrivateKey,
    site: str,
    run: str,
    study: str,
    roster: str,
    session: str,
    *,
    head: tuple[int, str] = (0, ""),
    start: str = "",
) -> tuple[X25519PrivateKey, SignedKey]:
    """Return a new ephemeral key, and its signed public half for the other sites.

    Parameters
    ----------
    private : the site's identity key.
    study, roster : digests.
    session : of the enrolment.
    head : number and last hash of the entries of the site's ledger.
    start : name of this start of the site's program; another start never has it.
    """
    ephemeral = X25519PrivateKey.generate()
    public_key = to_text(ephemeral.public_key().public_bytes_raw())
    key = SignedKey(site, run, study, roster, session, public_key, "", *head, start)
    signature = identity.sign(private, _PURPOSE, _content(key))
    return ephemeral, dataclasses.replace(key, signature=to_text(signature))


def _content(key: SignedKey) -> bytes:
    """Return what a site signs: all fields but the signature."""
    raw = from_text(key.public_key, PUBLIC_BYTES)
    head = (str(key.entries), key.ledger, key.start)
    return framed(key.site, key.run, key.study, key.roster, key.session, raw, *head)


def check_roster(
    keys: Iterable[SignedKey],
    study_roster: Mapping[str, str],
    run: str,
    study: str,
    roster: str,
    session: str,
) -> dict[str, X25519PublicKey]:
    """Return every site's ephemeral key, checked to come from that site for this enrolment.

    Parameters
    ----------
    keys : as passed on by the coordinator; nothing in them is trusted.
    study_roster : identity key (base64) of every participating site.
    study, roster : digests that this site approved.

    Raises
    ------
    SignatureError : names the site whose key is swapped, from another run, study, roster or
        session, missing, duplicated, or of no site of the roster.
    """
    identities = _identities(study_roster)
    if roster_digest(study_roster) != roster:
        raise SignatureError(
            "its sites or their identity keys are not those that were approved",
            where="roster",
            remedy="compare the fingerprints of all sites, then approve the study again",
        )
    found: dict[str, X25519PublicKey] = {}
    for key in keys:
        if not isinstance(key.site, str) or key.site not in identities:
            raise SignatureError(
                "no site of this name is on the roster",
                where=f"key of {key.site!r:.60}",
                remedy="ask the coordinator where this key comes from",
            )
        if key.site in found:
            raise _wrong(key.site, "there are two keys of this site")
        found[key.site] = check_key(key, identities[key.site], run, study, roster, session)
    for site in study_roster:
        if site not in found:
            raise _wrong(site, "the key of this site is missing")
    _refuse_shared({site: public.public_bytes_raw() for site, public in found.items()})
    return dict(sorted(found.items()))


def check_key(
    key: SignedKey, public: Ed25519PublicKey, run: str, study: str, roster: str, session: str
) -> X25519PublicKey:
    """Return the ephemeral key, after checking that this identity key signed it for this enrolment.

    Raises
    ------
    SignatureError : signed by another key, or for another run, study, roster or session.
    """
    _check_binding(key, run, study, roster, session)
    return _verified(key, public)


def _wrong(site: str, what: str) -> SignatureError:
    return SignatureError(what, where=f"site {site}", remedy=_ASK_AGAIN)


def _identities(study_roster: Mapping[str, str]) -> dict[str, Ed25519PublicKey]:
    identities: dict[str, Ed25519PublicKey] = {}
    for site, text in study_roster.items():
        try:
            identities[site] = identity.public_key(text)
        except InputError as error:
            raise SignatureError(
                f"its identity key is {error.what}", where=f"site {site}", remedy=error.remedy
            ) from None
    _refuse_shared({site: public.public_bytes_raw() for site, public in identities.items()})
    return identities


def _refuse_shared(keys: Mapping[str, bytes]) -> None:
    """Refuse one party under two names: it would count twice among those that hide each other."""
    owners: dict[bytes, str] = {}
    for site, raw in keys.items():
        if raw in owners:
            raise _wrong(site, f"its key is also that of site {owners[raw]}")
        owners[raw] = site


def _check_binding(key: SignedKey, run: str, study: str, roster: str, session: str) -> None:
    claims = (
        (key.run, run, "run"),
        (key.study, study, "study"),
        (key.roster, roster, "roster"),
        (key.session, session, "session"),
    )
    for given, expected, what in claims:
        if given != expected:
            raise _wrong(key.site, f"its key was signed for another {what}")


def _verified(key: SignedKey, public: Ed25519PublicKey) -> X25519PublicKey:
    try:
        raw = from_text(key.public_key, PUBLIC_BYTES)
        signature = from_text(key.signature, identity.SIGNATURE_BYTES)
        identity.verify(public, _PURPOSE, _content(key), signature)
    except (ValueError, SignatureError):
        raise SignatureError(
            "its ephemeral key is not the one it signed",
            where=f"site {key.site}",
            remedy=f"its fingerprint is {identity.fingerprint(public)}: compare it by phone",
        ) from None
    return X25519PublicKey.from_public_bytes(raw)


def pair_secrets(
    private: X25519PrivateKey,
    site: str,
    keys: Mapping[str, X25519PublicKey],
    run: str,
    roster: str,
) -> dict[str, bytes]:
    """Return the secret (32 bytes) that this site shares with each other site of the roster.

    Parameters
    ----------
    private : this site's ephemeral key.
    keys : from `check_roster`, this site's own among them.
    roster : digest, hexadecimal.

    Raises
    ------
    SignatureError : the roster holds another key of this site, or a key that gives no secret.
    """
    own = private.public_key().public_bytes_raw()
    if site not in keys or keys[site].public_bytes_raw() != own:
        raise _wrong(site, "the roster holds another key of this site than it announced")
    secrets: dict[str, bytes] = {}
    for peer, public in keys.items():
        if peer == site:
            continue
        ends = sorted([(site, own), (peer, public.public_bytes_raw())])
        names_and_keys = [part for end in ends for part in end]
        try:
            shared = private.exchange(public)
        except ValueError:
            raise _wrong(peer, "its ephemeral key gives no secret") from None
        info = framed(PROTOCOL, "pair", run, *names_and_keys)
        secrets[peer] = hkdf_sha256(shared, salt=bytes.fromhex(roster), info=info)
    return secrets
