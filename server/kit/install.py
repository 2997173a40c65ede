"""Check the kit that this file lies in, and install it without internet, compiler or git.

Needs Python's standard library alone: nothing else of the kit runs before its signature and every
hash have been checked. `install.sh` calls it. Whoever changes these two files can leave the check
out, so the hash of the packed kit is compared before it is unpacked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUMS, SIGNATURE, REQUIREMENTS, FACTS = (
    "SHA256SUMS",
    "SHA256SUMS.json",
    "requirements.txt",
    "kit.json",
)
PROTOCOL, PURPOSE = "fedlnm-masking-1", "kit"
BLOCK = 1 << 20
# RFC 8032, section 5.1: the field, the curve's constant, and its base point
P = 2**255 - 19
D = -121665 * pow(121666, P - 2, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


class KitError(Exception):
    """The kit is not as it was signed, or this machine cannot take it."""

    def __init__(self, what: str, remedy: str = "ask for the kit again") -> None:
        super().__init__(f"{what} -> nothing was installed; {remedy}")


def _recover(y: int, odd: int) -> int:
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P or (x == 0 and odd):
        raise KitError("not a point of the curve")
    return P - x if x % 2 != odd else x


def _point(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y, odd = number % 2**255, number >> 255
    if y >= P:
        raise KitError("not a point of the curve")
    x = _recover(y, odd)
    return x, y, 1, x * y % P


def _add(a: Point, b: Point) -> Point:
    left = (a[1] - a[0]) * (b[1] - b[0]) % P
    right = (a[1] + a[0]) * (b[1] + b[0]) % P
    product, twice = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, twice - product, twice + product, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number: int, point: Point) -> Point:
    found: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = _add(found, point)
        point, number = _add(point, point), number >> 1
    return found


def _same(a: Point, b: Point) -> bool:
    return not (a[0] * b[2] - b[0] * a[2]) % P and not (a[1] * b[2] - b[1] * a[2]) % P


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether an Ed25519 signature (RFC 8032, section 5.1.7) holds.

    Parameters
    ----------
    public : 32 bytes. signature : 64 bytes.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    base_y = 4 * pow(5, P - 2, P) % P
    base = _point(base_y.to_bytes(32, "little"))
    try:
        key, commitment = _point(public), _point(signature[:32])
    except KitError:
        return False
    if _same(_times(8, key), (0, 1, 1, 0)):
        return False  # of small order: anyone can sign under it
    answer = int.from_bytes(signature[32:], "little")
    if answer >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    return _same(_times(answer, base), _add(commitment, _times(challenge, key)))


def fingerprint(public: bytes) -> str:
    """Return the fingerprint of a key, as all programs of the project show it."""
    letters = base64.b32encode(hashlib.sha256(public).digest()).decode("ascii")[:20]
    return "-".join(letters[i : i + 4] for i in range(0, 20, 4))


def framed(*parts: bytes) -> bytes:
    """Join parts, each after its length."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)


def check(kit: Path, wanted: str = "") -> str:
    """Check signature and hashes; return the fingerprint of the key that signed.

    Parameters
    ----------
    wanted : fingerprint that the key must have; empty = any.

    Raises
    ------
    KitError : a file is missing, changed or too many, or the signature does not hold.
    """
    try:
        sums = (kit / SUMS).read_bytes()
        signed = json.loads((kit / SIGNATURE).read_text(encoding="utf-8"))
        public = base64.b64decode(signed["public_key"], validate=True)
        signature = base64.b64decode(signed["signature"], validate=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KitError(f"the kit is not signed ({type(error).__name__})") from None
    if not verify(public, framed(PROTOCOL.encode(), PURPOSE.encode(), sums), signature):
        raise KitError("the signature does not hold: the list of files was changed")
    found = fingerprint(public)
    if wanted and found != wanted:
        raise KitError(f"signed by {found}, not by {wanted}")
    if links := sorted(p.relative_to(kit).as_posix() for p in kit.rglob("*") if p.is_symlink()):
        raise KitError(f"a link, which may lead elsewhere later: {', '.join(links[:5])}")
    listed = dict(_listed(sums.decode("utf-8")))
    there = {p.relative_to(kit).as_posix() for p in kit.rglob("*") if p.is_file()}
    there -= {SUMS, SIGNATURE}
    if missing := sorted(set(listed) - there):
        raise KitError(f"missing: {', '.join(missing[:5])}")
    if more := sorted(there - set(listed)):
        raise KitError(f"not part of the kit: {', '.join(more[:5])}")
    for name, wanted_hash in listed.items():
        if _sha256(kit / name) != wanted_hash:
            raise KitError(f"changed since it was signed: {name}")
    return found


def _listed(text: str) -> list[tuple[str, str]]:
    rows = []
    for line in text.splitlines():
        digest, _, name = line.partition("  ")
        if not name or name.startswith("/") or ".." in Path(name).parts:
            raise KitError("a line of the list of files cannot be read")
        rows.append((name, digest))
    return rows


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def install(kit: Path, target: Path) -> None:
    """Install the wheels of a checked kit into a new virtual environment.

    One that is there takes its place only when it is whole.

    Raises
    ------
    KitError : another Python than the kit is for, or a target that is not empty.
    subprocess.CalledProcessError : pip failed.
    """
    facts = json.loads((kit / FACTS).read_text(encoding="utf-8"))
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if own != facts["python"]:
        raise KitError(
            f"the kit is for Python {facts['python']}, this is {own}",
            f"install Python {facts['python']}, or ask for a kit for {own}",
        )
    with _replaced(target):
        _fill(kit, target)


@contextmanager
def _replaced(target: Path) -> Iterator[None]:
    """Put an earlier installation aside, and back if the new one does not come whole."""
    before = target.with_name(f"{target.name}.before")
    earlier = (target / "bin" / "fedlnm-site").exists()
    if not earlier and target.exists() and any(target.iterdir()):
        remedy = "name another folder with --to, or remove it"
        raise KitError(f"{target} is not empty, and no installation", remedy)
    if earlier:
        shutil.rmtree(before, ignore_errors=True)
        target.rename(before)
    try:
        yield
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        if earlier:
            before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _fill(kit: Path, target: Path) -> None:
    # without pip: Debian's Python has none, and no ensurepip either
    venv.create(target, with_pip=False)
    python = target / "bin" / "python"
    (pip,) = (p for p in (kit / "wheels").glob("pip-*.whl") if p.is_file())
    count = len((kit / REQUIREMENTS).read_text(encoding="utf-8").splitlines())
    print(f"installing {count} packages (a few minutes)", flush=True)
    command = [str(python), str(pip / "pip"), "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--require-hashes"]
    command += ["--find-links", str(kit / "wheels"), "-r", str(kit / REQUIREMENTS)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    subprocess.run(command, check=True, env=clean)  # noqa: S603 - a list, of the checked kit
    print("compiling the loops of radiomics (half a minute, once)", flush=True)
    warm = [str(python), "-m", "client.imaging.radiomics.warm"]
    subprocess.run(warm, check=True, env=clean)  # noqa: S603


def main() -> int:
    """Check, install, and say what comes next; 0 = done, 1 = refused."""
    parser = argparse.ArgumentParser(prog="install.sh", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--to", type=Path, default=Path.home() / "fedlnm", help="folder to make")
    parser.add_argument("--fingerprint", default="", help="that the release key must have")
    parser.add_argument("--check-only", action="store_true", help="check, and install nothing")
    given = parser.parse_args()
    kit = Path(__file__).resolve().parent
    try:
        print("checking signature and hashes", flush=True)
        found = check(kit, given.fingerprint)
        print(f"whole, as signed by {found}")
        if not given.fingerprint:
            print("compare this fingerprint by phone with the coordinator")
        if given.check_only:
            return 0
        install(kit, given.to)
    except KitError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"error pip ended with {error.returncode} -> see the lines above", file=sys.stderr)
        return 1
    print(f"installed: {given.to / 'bin' / 'fedlnm-site'}")
    print(
        f'next: export PATH="{given.to / "bin"}:$PATH", then "Join" in {kit / "docs" / "site.md"}'
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
