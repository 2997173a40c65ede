"""Differences of two studies, in words for those who approved the first and read the second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import InputError
from common.masking import identity
from common.study.model import Study

_KEYS = ("public_key", "coordinator_key")
_LONGEST = 60


def changes(before: Study, after: Study) -> Iterator[str]:
    """Yield one line for each setting that differs; none for the same study.

    Parts that have a name, such as hospitals and columns, are compared by it.
    """
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    whole = _parts(old) ^ _parts(new)
    if old == new and before.digest() != after.digest():
        yield "the order of its parts"
    for name in sorted(whole):
        yield f"{name}: {'added' if name in _parts(new) else 'taken out'}"
    for path in dict.fromkeys((*old, *new)):
        if old.get(path) != new.get(path) and _part(path) not in whole:
            place = ".".join(path).replace(".#", " ")
            yield f"{place}: {_shown(path, old)}, now {_shown(path, new)}"


Path = tuple[str, ...]


def _flat(value: Any, path: Path = ()) -> dict[Path, Any]:
    """Return all settings by their path; a part of a list with a name is called "#" and it."""
    if isinstance(value, Mapping):
        return {p: v for key, one in value.items() for p, v in _flat(one, (*path, key)).items()}
    if isinstance(value, list) and value and all(_named(one) for one in value):
        parts = [(f"#{one['name']}", one) for one in value]
        return {p: v for key, one in parts for p, v in _flat(one, (*path, key)).items()}
    return {path: value}


def _named(value: Any) -> bool:
    return isinstance(value, Mapping) and "name" in value


def _part(path: Path) -> str:
    """Return the named part that a setting belongs to; empty for none."""
    place = next((i for i, key in enumerate(path) if key.startswith("#")), None)
    return "" if place is None else f"{'.'.join(path[:place])} {path[place][1:]}"


def _parts(settings: Mapping[Path, Any]) -> set[str]:
    return {_part(path) for path in settings} - {""}


def _shown(path: Path, settings: Mapping[Path, Any]) -> str:
    value = settings.get(path)
    if path[-1] in _KEYS and isinstance(value, str) and value:
        try:
            return f"key {identity.fingerprint(identity.public_key(value))}"
        except InputError:
            return "a key that cannot be read"
    if value in (None, "", []):
        return "none"
    text = ", ".join(map(_of_list, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _of_list(value: Any) -> str:
    """Return a part of a list; a statement of a hospital is called by its name."""
    return str(value["site"]) if isinstance(value, Mapping) and "site" in value else str(value)
