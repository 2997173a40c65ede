"""Build the offline kit: wheels of everything, locked and signed, with an SBOM.

python -m server.kit.build --out build/kit [--torch cpu] [--key release-key.pem] [--tar]
"""

from __future__ import annotations

import argparse
import base64
import email
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from packaging.utils import parse_wheel_filename

from common.errors import InputError, StudyError
from common.masking import identity
from common.utils.processes import run_program
from server.kit import install

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS, SBOM = "constraints.txt", "sbom.cdx.json"
PIP = "pip>=25"
_NOT_PAGES = shutil.ignore_patterns("hooks")


@dataclass(frozen=True)
class Wheel:
    """A wheel of the kit."""

    path: Path
    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """Line of the locked requirements."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


def wheels_in(folder: Path) -> list[Wheel]:
    """Return the wheels of a folder, by name."""
    found = []
    for path in sorted(folder.glob("*.whl")):
        name, version, *_ = parse_wheel_filename(path.name)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append(Wheel(path, str(name), str(version), digest))
    return found


def metadata_of(wheel: Wheel) -> Message:
    """Return the core metadata of a wheel."""
    with zipfile.ZipFile(wheel.path) as archive:
        names = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        (name,) = (n for n in names if n.count("/") == 1)  # others are of vendored packages
        return email.message_from_bytes(archive.read(name))


def collect_wheels(folder: Path, extras: str, index: str) -> list[Wheel]:
    """Fetch or build wheels of this release and of all that it needs.

    Parameters
    ----------
    extras : of the release, such as "notices"; empty = none.
    index : further index of packages, empty = none.

    Raises
    ------
    subprocess.CalledProcessError : pip failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = f"{ROOT}[{extras}]" if extras else str(ROOT)
    command = [sys.executable, "-m", "pip", "wheel", "--disable-pip-version-check"]
    command += ["--wheel-dir", str(folder), "-c", str(ROOT / CONSTRAINTS), own, PIP]
    if index:
        command += ["--extra-index-url", index]
    subprocess.run(command, check=True)  # noqa: S603
    return wheels_in(folder)


def check_torch(wheels: Sequence[Wheel], kind: str) -> None:
    """Check that torch is of the kind that was asked for.

    Raises
    ------
    InputError : it is not; the remedy names the index.
    """
    cuda = any(one.name.startswith("nvidia-") for one in wheels)
    if cuda != (kind == "cuda"):
        found = "with CUDA" if cuda else "for the CPU alone"
        raise InputError(
            f"torch came {found}",
            where=f"TORCH={kind}",
            remedy="name an index that has the other, such as"
            f" TORCH_INDEX=https://download.pytorch.org/whl/{'cpu' if kind == 'cpu' else 'cu128'}",
        )


def sbom_of(wheels: Sequence[Wheel]) -> dict[str, object]:
    """Return the bill of materials in CycloneDX 1.6: every wheel, its hash and licence."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    bom = Bom()
    for one in wheels:
        about = metadata_of(one)
        licence = _licence(about)
        component = Component(
            name=one.name,
            version=one.version,
            type=ComponentType.APPLICATION if one.name == "fedlnm" else ComponentType.LIBRARY,
            purl=PackageURL("pypi", None, one.name, one.version),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.sha256)],
            description=about["Summary"],
            licenses=[DisjunctiveLicense(name=licence)] if licence else (),
        )
        if one.name == "fedlnm":
            bom.metadata.component = component
        else:
            bom.components.add(component)
    if bom.metadata.component is not None:
        bom.register_dependency(bom.metadata.component, bom.components)
    text: dict[str, object] = json.loads(JsonV1Dot6(bom).output_as_string())
    return text


def _licence(about: Message) -> str:
    """Return the licence that a wheel declares; of a whole text its first line."""
    declared = str(about["License-Expression"] or about["License"] or "").strip()
    return declared.splitlines()[0][:200] if declared else ""


def write_kit(folder: Path, wheels: Sequence[Wheel], torch: str) -> None:
    """Write all that lies beside the wheels, but the list of hashes."""
    lines = [one.requirement for one in wheels if one.name != "pip"]
    (folder / install.REQUIREMENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (version,) = (one.version for one in wheels if one.name == "fedlnm")
    facts = {
        "release": version,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "machine": f"{platform.system()} {platform.machine()}",
        "torch": torch,
    }
    (folder / install.FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    bom = json.dumps(sbom_of(wheels), indent=1)
    (folder / SBOM).write_text(bom + "\n", encoding="utf-8")
    shutil.copy(install.__file__, folder / "install.py")
    shutil.copy(Path(__file__).parent / "templates" / "install.sh", folder / "install.sh")
    shutil.copy(ROOT / "LICENSE", folder / "LICENSE")
    for part in ("docs", "examples/container"):
        shutil.copytree(ROOT / part, folder / part, dirs_exist_ok=True, ignore=_NOT_PAGES)


def sign_kit(folder: Path, private: Ed25519PrivateKey) -> str:
    """List every file's hash and sign the list; return the key's fingerprint."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    kept = [name for name in names if name not in (install.SUMS, install.SIGNATURE)]
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}" for n in kept]
    sums = ("\n".join(lines) + "\n").encode()
    (folder / install.SUMS).write_bytes(sums)
    public = private.public_key()
    signature = identity.sign(private, install.PURPOSE, sums)
    signed = {
        "public_key": identity.public_text(public),
        "signature": base64.b64encode(signature).decode("ascii"),
    }
    (folder / install.SIGNATURE).write_text(json.dumps(signed, indent=1) + "\n", encoding="utf-8")
    return identity.fingerprint(public)


def pack(folder: Path) -> Path:
    """Pack the kit into one file beside its folder."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=folder.name)
    return path


def spelled(path: Path) -> str:
    """Return the SHA-256 of a file in groups of eight digits, to be read out."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return " ".join(digest[i : i + 8] for i in range(0, len(digest), 8))


def _key(path: Path) -> tuple[Ed25519PrivateKey, bool]:
    """Return the release key, and whether it was made now."""
    if path.exists():
        return identity.load(path).private, False
    private = identity.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    identity.save(private, path)
    return private, True


def build(out: Path, torch: str, extras: str, index: str, key: Path) -> tuple[str, bool]:
    """Build the kit; return the fingerprint of the key, and whether the key is new.

    Raises
    ------
    InputError : torch of another kind than asked for.
    StudyError : pip failed.
    """
    if out.exists():
        shutil.rmtree(out)
    try:
        wheels = collect_wheels(out / "wheels", extras, index)
    except subprocess.CalledProcessError as error:
        raise StudyError(
            f"pip ended with {error.returncode}", where="kit", remedy="see its lines above"
        ) from None
    check_torch(wheels, torch)
    write_kit(out, wheels, torch)
    private, new = _key(key)
    return sign_kit(out, private), new


def main() -> None:
    """Build a kit from the command line."""
    parser = argparse.ArgumentParser(prog="make kit")
    parser.add_argument("--out", type=Path, default=Path("build/kit"))
    parser.add_argument("--torch", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--torch-index", default="", help="further index of packages")
    parser.add_argument("--extras", default="notices", help="of the release, with commas")
    parser.add_argument("--key", type=Path, default=Path("build/release-key.pem"))
    parser.add_argument("--tar", action="store_true", help="pack it into one file, too")
    given = parser.parse_args()
    print(f"fetching and building wheels for {given.out} (minutes)", flush=True)
    found, new = build(given.out, given.torch, given.extras, given.torch_index, given.key)
    if new:
        print(f"NEW RELEASE KEY: {given.key}. Keep it, and back it up as you do keys.")
    size = sum(p.stat().st_size for p in given.out.rglob("*") if p.is_file())
    print(f"kit: {given.out}, {size / 1e6:.0f} MB, signed by {found}")
    if given.tar:
        packed = pack(given.out)
        print(f"in one file: {packed}\nits SHA-256, to compare by phone before it is unpacked:")
        print(f"  {spelled(packed)}")


if __name__ == "__main__":
    run_program(main)
