"""Files for joining a study."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from common.errors import InputError, SignatureError
from common.masking import identity
from common.masking.fixed_point import to_text
from common.messages.joining import JoinRequest, node_key_pem


def ssh(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return text.decode()


NODE = ec.generate_private_key(ec.SECP384R1())
OWN = identity.generate()


def request(**changes: Any) -> JoinRequest:
    return JoinRequest.make("a", OWN, NODE).model_copy(update={"signature": "", **changes})


def test_a_signed_request_survives_its_journey(tmp_path: Path) -> None:
    path = tmp_path / "a.request.json"
    path.write_bytes(request().signed_by(OWN).to_bytes())
    assert JoinRequest.read(path).check() == identity.fingerprint(OWN.public_key())


@pytest.mark.parametrize("field", ["site", "node_key", "identity_key", "node_signature"])
def test_a_change_of_any_field_is_found(field: str) -> None:
    other = identity.generate()
    changed = {
        "site": "b",
        "node_key": ssh(ec.generate_private_key(ec.SECP384R1())),
        "identity_key": identity.public_text(other.public_key()),
        "node_signature": JoinRequest.make("a", OWN, NODE).node_signature,
    }
    signed = request().signed_by(OWN)
    with pytest.raises(SignatureError):
        signed.model_copy(update={field: changed[field]}).check()


def test_a_hospital_cannot_join_with_the_key_of_another_hospitals_node() -> None:
    """It saw the other's request, and signs with its own identity what is in there."""
    seen, thief = JoinRequest.make("a", OWN, NODE), identity.generate()
    own = {"site": "b", "identity_key": identity.public_text(thief.public_key())}
    for proof in (seen.node_signature, "", "no base64", to_text(b"0" * 104)):
        stolen = seen.model_copy(update={**own, "node_signature": proof}).signed_by(thief)
        with pytest.raises(SignatureError, match="does not have the key of the node"):
            stolen.check()


@pytest.mark.parametrize("odd", ["\x1b[8m", "\r", "\u202e"])
def test_a_request_that_could_change_what_is_shown_of_it_is_refused(
    odd: str, tmp_path: Path
) -> None:
    """A key in OpenSSH's text may end in any words."""
    written = json.loads(request().signed_by(OWN).to_bytes())
    for field in ("site", "node_key"):
        changed = {**written, field: f"{written[field]} {odd}"}
        (tmp_path / "a.request.json").write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(InputError) as refused:
            JoinRequest.read(tmp_path / "a.request.json")
        assert str(refused.value).isprintable()


def test_an_unsigned_request_is_refused() -> None:
    with pytest.raises(SignatureError, match="not signed"):
        request().check()


def test_a_signature_under_another_kind_of_document_does_not_hold() -> None:
    bare = request()
    signature = identity.sign(OWN, "roster", bare._message())
    with pytest.raises(SignatureError):
        bare.model_copy(update={"signature": base64.b64encode(signature).decode()}).check()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (ssh(ec.generate_private_key(ec.SECP256R1())), "not an EC P-384 key"),
        (ssh(Ed25519PrivateKey.generate()), "not an EC P-384 key"),
        ("nonsense", "not a public key"),
    ],
    ids=["P-256", "Ed25519", "nonsense"],
)
def test_another_kind_of_node_key_is_refused(key: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    tree = {**request().model_dump(), "node_key": key}
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        JoinRequest.read(path)


@pytest.mark.parametrize("content", ["not json", "[]", '{"site": "../a"}'])
def test_another_file_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"request\.json"):
        JoinRequest.read(path)


def test_flower_knows_a_node_by_the_same_key() -> None:
    from flwr.supercore.primitives.asymmetric import public_key_to_bytes

    pem = node_key_pem(ssh(NODE))
    assert load_pem_public_key(pem) == NODE.public_key()
    assert pem == public_key_to_bytes(NODE.public_key())
