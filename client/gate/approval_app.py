"""What a person approves when it is an app: whether it is the release installed here."""

from __future__ import annotations

import hashlib
import json
import tomllib
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from common.errors import InputError, StudyError
from common.utils.app_file import build_app
from common.utils.text_file import check_printable

CHANGED, EXTRA, MISSING = "changed", "not in this release", "missing from the app"
TWICE = "there more than once"
_CONFIG, _CONTENT = "pyproject.toml", ".info/CONTENT"
_ON_ONE_SCREEN = 20


@dataclass(frozen=True)
class App:
    """A FAB file.

    Parameters
    ----------
    digest : SHA-256 of the file, hexadecimal.
    name, version : as its pyproject.toml says.
    files : bytes by path inside the file, exactly as the path is written there.
    repeated : paths that stand there more than once; which of them counts is for the reader.
    """

    digest: str
    name: str
    version: str
    files: dict[str, bytes]
    repeated: tuple[str, ...] = ()


def is_app(path: Path) -> bool:
    """Whether a file is an app and not a study."""
    return path.suffix == ".fab"


def read_app(path: Path) -> App:
    """Read a FAB file without running anything of it.

    Raises
    ------
    InputError : not a FAB file.
    """
    content = path.read_bytes()
    try:
        files, repeated = _unpacked(content)
        project = tomllib.loads(files[_CONFIG].decode())["project"]
        name, version = project["name"], project["version"]
        if not isinstance(name, str) or not isinstance(version, str):
            raise TypeError
        check_printable((name, version))
    except (zipfile.BadZipFile, zlib.error, KeyError, TypeError, ValueError, RuntimeError):
        raise InputError(
            "not a FAB file", where=str(path), remedy="give the file that flwr build makes"
        ) from None
    return App(hashlib.sha256(content).hexdigest(), name, version, files, repeated)


def _unpacked(content: bytes) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Files by path, folders among them; and the paths that stand there more than once."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = Counter(archive.namelist())
        files = {name: archive.read(name) for name in names}
    return files, tuple(sorted(name for name, times in names.items() if times > 1))


def differences(app: App, release: Path) -> dict[str, str]:
    """How an app differs from that of the release installed here, by path: nothing is left out.

    The app of the release is built here as Flower builds it. A package more would shadow a library,
    and pyproject.toml says which of the code is run.

    Parameters
    ----------
    release : the project's folder.

    Raises
    ------
    StudyError : the app of the release cannot be built here.
    """
    own, _ = _unpacked(build_app(release))
    found = dict.fromkeys(sorted(app.files.keys() - own.keys()), EXTRA)
    for name in sorted(app.files.keys() & own.keys()):
        if how := _change(name, app.files, own):
            found[name] = how
    found |= dict.fromkeys(app.repeated, TWICE)
    return found | dict.fromkeys(sorted(own.keys() - app.files.keys()), MISSING)


def _change(name: str, files: Mapping[str, bytes], own: Mapping[str, bytes]) -> str:
    """How a file differs from the release's; empty if it does not."""
    if files[name] == own[name]:
        return ""
    if name == _CONFIG:
        # another version of a library may write the same settings with other line breaks
        keys = list(_differing(_settings(files[name]), _settings(own[name])))
        return f"{CHANGED} ({', '.join(keys)})" if keys else ""
    if name == _CONTENT and files[name] == _list_of(files):
        return ""
    return CHANGED


def _settings(content: bytes) -> Any:
    try:
        return tomllib.loads(content.decode())
    except ValueError:
        return None


def _differing(left: Any, right: Any, key: str = "") -> Iterator[str]:
    """Dotted names of what differs, types included."""
    if isinstance(left, dict) and isinstance(right, dict):
        for name in sorted(left.keys() | right.keys()):
            below = f"{key}.{name}" if key else name
            yield from _differing(left.get(name), right.get(name), below)
    elif json.dumps(left, default=str) != json.dumps(right, default=str):
        yield key or "not readable"


def _list_of(files: Mapping[str, bytes]) -> bytes:
    """What Flower writes of the files into .info/CONTENT, by which it checks them."""
    names = [_CONFIG, *sorted(files.keys() - {_CONFIG, _CONTENT})]
    lines = [f"{n},{hashlib.sha256(files[n]).hexdigest()},{len(files[n]) * 8}" for n in names]
    return "\n".join(lines).encode()


def describe_app(app: App, release: Path) -> Iterator[str]:
    """Lines about an app."""
    yield f"app {app.name} {app.version}, SHA-256 {app.digest}"
    yield f"{len(app.files)} files, which run on this machine with this user's rights"
    try:
        different = differences(app, release)
    except StudyError as error:
        yield f"whether it is the release installed here is NOT KNOWN: {error}"
        return
    if not different:
        yield "it is that of the release installed here: every file, to the byte"
        return
    told = f"it is NOT the release installed here: {len(different)} files differ"
    yield f"{told}:"
    for name, how in different.items():
        yield f"  {name}: {how}"
    if len(different) > _ON_ONE_SCREEN:  # the first line has gone off the screen
        yield told
