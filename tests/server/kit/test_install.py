"""The installer of the kit: Python's standard library alone, and nothing before the checks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from common.masking import identity
from server.kit import build, install
from server.kit.install import KitError, check, verify


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200), at=st.integers(0))
@settings(max_examples=15, deadline=None)
def test_signatures_hold_where_cryptography_says_so_and_only_there(
    seed: bytes, message: bytes, at: int
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert verify(public, message, signature)
    changed = bytearray(signature)
    changed[at % 64] ^= 1 << (at % 8)
    assert not verify(public, message, bytes(changed))
    assert not verify(public, message + b"x", signature)


@pytest.mark.parametrize(
    "public",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        (2**255 - 20).to_bytes(32, "little"),
        (2**255 - 19 + 1).to_bytes(32, "little"),
        b"\xff" * 32,
    ],
)
def test_no_signature_holds_under_a_key_under_which_anyone_can_sign(public: bytes) -> None:
    # the neutral element as commitment, and an answer of 0
    forged = (1).to_bytes(32, "little") + bytes(32)
    assert not verify(public, b"kit", forged)


def test_the_vector_of_rfc_8032_holds() -> None:
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    Ed25519PublicKey.from_public_bytes(public).verify(signature, b"\x72")
    assert verify(public, b"\x72", signature)
    large = signature[:32] + (int.from_bytes(signature[32:], "little") + install.ORDER).to_bytes(
        32, "little"
    )
    with pytest.raises(InvalidSignature):
        Ed25519PublicKey.from_public_bytes(public).verify(large, b"\x72")
    assert not verify(public, b"\x72", large)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    folder = tmp_path / "kit"
    (folder / "wheels").mkdir(parents=True)
    (folder / "wheels" / "one-1.0-py3-none-any.whl").write_bytes(b"wheel " * 100)
    (folder / install.REQUIREMENTS).write_text("one==1.0\n")
    (folder / install.FACTS).write_text(json.dumps({"python": "3.11"}))
    build.sign_kit(folder, identity.generate())
    return folder


def test_a_kit_as_it_was_signed_is_whole(kit: Path) -> None:
    signed = json.loads((kit / install.SIGNATURE).read_text())
    wanted = identity.fingerprint(identity.public_key(signed["public_key"]))
    assert check(kit) == check(kit, wanted) == wanted
    with pytest.raises(KitError, match="not by AAAA"):
        check(kit, "AAAA-AAAA-AAAA-AAAA-AAAA")


def files_of(kit: Path) -> list[Path]:
    return [path for path in sorted(kit.rglob("*")) if path.is_file()]


def test_a_flipped_bit_in_any_file_is_found(kit: Path) -> None:
    for path in files_of(kit):
        before = path.read_bytes()
        for at in (0, len(before) // 2, len(before) - 1):
            changed = bytearray(before)
            changed[at] ^= 1
            path.write_bytes(changed)
            if path.name == install.SIGNATURE and json_equal(before, bytes(changed)):
                continue  # a blank of the JSON that says the same
            with pytest.raises((KitError, UnicodeDecodeError)):
                check(kit)
        path.write_bytes(before)
    check(kit)


def json_equal(before: bytes, after: bytes) -> bool:
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["more", "wheels/pip-9.whl", "wheels/one-1.0-py3-none-any.whl"])
@pytest.mark.parametrize("to", ["a file", "a folder"])
def test_a_link_is_refused_wherever_it_leads(kit: Path, tmp_path: Path, name: str, to: str) -> None:
    """A link may lead to another file after the check."""
    elsewhere = tmp_path / "elsewhere"
    if to == "a folder":
        elsewhere.mkdir()
    else:
        elsewhere.write_bytes(b"wheel " * 100)
    (kit / name).unlink(missing_ok=True)
    (kit / name).symlink_to(elsewhere)
    with pytest.raises(KitError, match="a link"):
        check(kit)


def test_a_changed_installer_praises_itself_so_the_packed_kit_is_compared_first(
    kit: Path,
) -> None:
    shutil.copy(install.__file__, kit / "install.py")
    wanted = build.sign_kit(kit, identity.generate())
    before = build.spelled(build.pack(kit))
    own = (kit / "install.py").read_text(encoding="utf-8")
    begins = own.index("    try:\n        sums =")
    (kit / "install.py").write_text(own[:begins] + "    return wanted\n" + own[begins:])
    command = [sys.executable, "-I", str(kit / "install.py"), "--check-only"]
    ended = subprocess.run([*command, "--fingerprint", wanted], capture_output=True, text=True)
    assert ended.returncode == 0 and f"as signed by {wanted}" in ended.stdout
    assert build.spelled(build.pack(kit)) != before


def test_a_file_more_or_less_is_found(kit: Path) -> None:
    more = kit / "wheels" / "two-1.0-py3-none-any.whl"
    more.write_bytes(b"")
    with pytest.raises(KitError, match="not part of the kit: wheels/two"):
        check(kit)
    more.unlink()
    (kit / "wheels" / "one-1.0-py3-none-any.whl").unlink()
    with pytest.raises(KitError, match="missing: wheels/one"):
        check(kit)


def test_a_signature_over_other_things_does_not_hold(kit: Path) -> None:
    private = identity.generate()
    sums = (kit / install.SUMS).read_bytes()
    signed = {
        "public_key": identity.public_text(private.public_key()),
        "signature": build.base64.b64encode(identity.sign(private, "bundle", sums)).decode(),
    }
    (kit / install.SIGNATURE).write_text(json.dumps(signed))
    with pytest.raises(KitError, match="does not hold"):
        check(kit)


def test_it_runs_without_anything_but_python_and_installs_nothing_of_a_changed_kit(
    kit: Path, tmp_path: Path
) -> None:
    (kit / "install.py").write_bytes(Path(install.__file__).read_bytes())
    build.sign_kit(kit, identity.generate())
    command = [sys.executable, "-I", "-S", str(kit / "install.py"), "--to", str(tmp_path / "to")]
    whole = subprocess.run([*command, "--check-only"], capture_output=True, text=True, check=False)
    assert whole.returncode == 0 and "compare this fingerprint by phone" in whole.stdout, (
        whole.stderr
    )
    (kit / "wheels" / "one-1.0-py3-none-any.whl").write_bytes(b"another")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "changed since it was signed: wheels/one" in done.stderr
    assert not (tmp_path / "to").exists()


def test_another_python_than_the_kits_is_named(kit: Path, tmp_path: Path) -> None:
    (kit / install.FACTS).write_text(json.dumps({"python": "3.8"}))
    with pytest.raises(KitError, match=r"the kit is for Python 3\.8"):
        install.install(kit, tmp_path / "to")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    (kit / install.FACTS).write_text(
        json.dumps({"python": f"{sys.version_info[0]}.{sys.version_info[1]}"})
    )
    with pytest.raises(KitError, match=r"is not empty.*name another folder"):
        install.install(kit, tmp_path / "full")


def test_an_earlier_installation_is_replaced_by_a_whole_one_only(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "fedlnm"
    program = target / "bin" / "fedlnm-site"
    program.parent.mkdir(parents=True)
    program.write_text("old")
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (kit / install.FACTS).write_text(json.dumps({"python": own}))
    (kit / "wheels" / "pip-25.0-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(subprocess.CalledProcessError):  # an empty wheel of pip does not run
        install.install(kit, target)
    assert program.read_text() == "old"
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: program.write_text("new"))
    install.install(kit, target)
    assert program.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir() if "fedlnm" in path.name] == ["fedlnm"]
