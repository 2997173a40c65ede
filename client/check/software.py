"""Installed packages against those that this release asks for, and the gate against Flower."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

from client.check.finding import Findings, not_checked, ok, or_ok, problem, problem_of
from client.versions import software
from common.errors import StudyError

PACKAGE = "fedlnm"
VERSIONS, FLOWER = "software.versions", "software.flower"


def look_at_software() -> Findings:
    """Every requirement of the release, and the functions of Flower that the gate stands in."""
    yield from _versions()
    yield from _flower()


def _versions() -> Findings:
    try:
        asked = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    except metadata.PackageNotFoundError:
        why = f"{PACKAGE} is not installed as a package, so it says nothing of what it asks for"
        yield from not_checked((VERSIONS,), why, "install the release with pip")
        return
    found = [
        problem(
            VERSIONS,
            "installation",
            f"{name} is {there}, this release asks for {wanted}",
            f'install "{name}{wanted}", as all sites have it',
        )
        for name, there, wanted in _unmet(asked)
    ]
    known = software()
    told = ", ".join(f"{name} {known[name]}" for name in ("fedlnm", "python", "flwr", "torch"))
    yield from or_ok(found, {VERSIONS: told})


def _unmet(asked: list[Requirement]) -> Iterator[tuple[str, str, str]]:
    """Name, what is installed, what is asked for."""
    for one in asked:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            there = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            yield one.name, "missing", str(one.specifier)
            continue
        # a build's own mark, as of torch for one processor (2.13.0+cpu), is no other version
        if not one.specifier.contains(there.partition("+")[0], prereleases=True):
            yield one.name, there, str(one.specifier)


def _flower() -> Findings:
    from common.flower.supernode import check_seam

    try:
        check_seam()
    except StudyError as error:
        yield problem_of(FLOWER, error)
    else:
        yield ok(FLOWER, "the gate fits the installed Flower")
