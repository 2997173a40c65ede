"""Files of a kit beside its wheels."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from common.errors import InputError
from common.masking import identity
from server.kit import build, install


def wheel(folder: Path, name: str, version: str, licence: str = "MIT", more: str = "") -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: {licence}\n{more}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", text)
        archive.writestr("vendored/other-1.0.dist-info/METADATA", "Name: other\n")
    return path


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    folder = tmp_path / "kit"
    (folder / "wheels").mkdir(parents=True)
    for name in ("fedlnm", "numpy", "pip"):
        wheel(folder / "wheels", name, "1.0", licence="A licence\n        of many lines")
    build.write_kit(folder, build.wheels_in(folder / "wheels"), "cpu")
    build.sign_kit(folder, identity.generate())
    return folder


def test_every_wheel_is_locked_by_its_hash(kit: Path) -> None:
    lines = (kit / install.REQUIREMENTS).read_text().splitlines()
    assert [line.split("==")[0] for line in lines] == ["fedlnm", "numpy"]
    for line in lines:
        name = line.split("==")[0]
        (path,) = (kit / "wheels").glob(f"{name}-*.whl")
        assert line.endswith(hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_bill_of_materials_names_every_wheel_with_its_hash_and_licence(kit: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (kit / build.SBOM).read_text()
    bom = json.loads(text)
    assert bom["specVersion"] == "1.6" and bom["metadata"]["component"]["name"] == "fedlnm"
    assert {one["name"] for one in bom["components"]} == {"numpy", "pip"}
    for one in [*bom["components"], bom["metadata"]["component"]]:
        (path,) = (kit / "wheels").glob(f"{one['name']}-*.whl")
        (digest,) = one["hashes"]
        assert digest["content"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert one["purl"] == f"pkg:pypi/{one['name']}@1.0"
        assert one["licenses"][0]["license"]["name"] == "A licence"
    try:
        errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    except Exception as error:  # its schemas are an extra of the library
        pytest.skip(f"schema of CycloneDX not installed: {type(error).__name__}")
    assert errors is None


def test_the_kit_has_the_pages_that_a_hospital_needs(kit: Path) -> None:
    pages = kit / "docs"
    assert "fedlnm-site init" in (pages / "site.md").read_text(encoding="utf-8")
    for page in ("site", "it", "pacs", "import", "container", "check", "situations"):
        text = (pages / f"{page}.md").read_text(encoding="utf-8")
        linked = re.findall(r"\]\((?![a-z]+://)([^)#]+)", text)
        assert not [link for link in linked if not (pages / link).is_file()], page
    assert (kit / "examples" / "container" / "fedlnm-site.container").is_file()
    assert (kit / "install.sh").read_text().startswith("#!/bin/sh")
    assert install.check(kit)


def test_torch_of_the_other_kind_is_named_with_the_index_that_has_it(tmp_path: Path) -> None:
    wheel(tmp_path, "torch", "2.13.0")
    wheels = build.wheels_in(tmp_path)
    build.check_torch(wheels, "cpu")
    with pytest.raises(InputError, match="CPU alone") as found:
        build.check_torch(wheels, "cuda")
    assert "TORCH_INDEX=" in found.value.remedy
    wheel(tmp_path, "nvidia_cublas", "1.0")
    with pytest.raises(InputError, match="with CUDA"):
        build.check_torch(build.wheels_in(tmp_path), "cpu")


def test_it_packs_into_one_file(kit: Path) -> None:
    with tarfile.open(build.pack(kit)) as archive:
        names = archive.getnames()
    assert "kit/install.sh" in names and f"kit/{install.SUMS}" in names
