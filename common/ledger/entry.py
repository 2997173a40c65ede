"""Ledger entry: request and outcome, in text without anything of a patient."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from pydantic import TypeAdapter, ValidationError

from common.messages.plain import to_tree
from common.statistics.base import describe
from common.transforms.views import ByFold, Joined, Paired, Table, View

Decision = Literal["released", "refused", "stopped", "repaired"]

_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")
_CODE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z|\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z|\Z")
LONGEST_TEXT = 1000


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that an exchange asks for: a statistic over a view of a subset, an update ...

    Parameters
    ----------
    what : names of the statistic, tables and steps, from `common.ledger.entry.describe_item`.
    subset : "train" or the name of a test set.
    request : SHA-256 of the whole request, numbers included; the same at every site.
    shapes : shape of every part of the answer.
    rows, positives : patients the answer is about; None where nothing was released.
    membership : digest of the patients of the subset, see `client.store.cohorts`.
    participants : sites among whose numbers the answer is hidden; none = it is not masked.
    left : sites that took part in an earlier sum over the same patients and have signed that they
        left: their numbers follow by subtraction.
    unique : of pooled rows, patients with exactly one that fits their clinical values.
    """

    what: str
    subset: str
    request: str
    shapes: dict[str, tuple[int, ...]]
    rows: int | None = None
    positives: int | None = None
    membership: str = ""
    participants: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    unique: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for text that could carry more than names and digests."""
        _check(_PRINTABLE, what=self.what, subset=self.subset)
        for name in (*self.shapes, *self.participants, *self.left):
            _check(_PRINTABLE, name=name)
        _check(_DIGEST, request=self.request, membership=self.membership)

    @property
    def masked(self) -> bool:
        """True when the answer says nothing without those of other sites."""
        return len(self.participants) > 1

    @property
    def statistic(self) -> str:
        """SHA-256 of names and subset only: a changed number does not make another statistic."""
        return hashlib.sha256(f"{self.what}\n{self.subset}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Record:
    """One reply of a site, before it is placed in the chain.

    Parameters
    ----------
    run, exchange : name of the run; kind of message, such as `query.sum`.
    exchange_id : the coordinator's name for this one exchange, the same at all sites.
    study, roster : digests that the site approved.
    payload, size : SHA-256 and bytes of the encoded reply.
    decision : `released`; `refused` by a disclosure rule; `stopped` by the gate; `repaired`: the
        ledger itself, after a crash.
    reason : name of the rule, or the gate's code; never free text.
    epsilon : privacy loss of this reply, where differential privacy was used.
    """

    exchange: str
    decision: Decision
    run: str = ""
    exchange_id: str = ""
    study: str = ""
    roster: str = ""
    items: tuple[Item, ...] = ()
    payload: str = ""
    size: int = 0
    reason: str = ""
    epsilon: float | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for text that could carry more than names and digests."""
        texts = {"run": self.run, "exchange": self.exchange, "exchange_id": self.exchange_id}
        _check(_PRINTABLE, **texts)
        _check(_DIGEST, study=self.study, roster=self.roster, payload=self.payload)
        _check(_CODE, reason=self.reason)

    def writable(self) -> Self:
        """Return the writable part: no counts, digests or left sites of a reply that did not leave.

        The file may be shown to others, who could find a small number by its digest.
        """
        if self.decision not in ("refused", "stopped"):
            return self
        items = tuple(
            dataclasses.replace(item, rows=None, positives=None, left=(), unique=None)
            for item in self.items
        )
        return dataclasses.replace(self, items=items, payload="")


@dataclass(frozen=True, kw_only=True)
class Entry(Record):
    """Record in its place in the chain.

    Parameters
    ----------
    number : 1, 2, 3, ...
    time : UTC, ISO 8601.
    previous : hash of the entry before; zeros for the first.
    hash : SHA-256 of all fields but itself and the signature.
    signature : Ed25519 over the hash, base64.
    """

    number: int
    time: str
    previous: str
    hash: str
    signature: str

    def __post_init__(self) -> None:
        """Raise ValueError for text that could carry more than names and digests."""
        super().__post_init__()
        _check(_PRINTABLE, time=self.time, signature=self.signature)
        _check(_DIGEST, previous=self.previous, hash=self.hash)

    def content_hash(self) -> str:
        """Return the value that `hash` must have."""
        fields = self._fields()
        del fields["hash"], fields["signature"]
        return hash_of(fields)

    def line(self) -> bytes:
        """Return the only valid form of this entry in the file, with its line end."""
        return canonical(self._fields()) + b"\n"

    def _fields(self) -> dict[str, Any]:
        """Return the fields in the file; without those of items that are empty and came later."""
        fields = dataclasses.asdict(self)
        for item in fields["items"]:
            if not item["left"]:
                del item["left"]
            if item["unique"] is None:
                del item["unique"]
        return fields


_ENTRY = TypeAdapter(Entry)


def read_line(line: bytes) -> Entry:
    """Read the entry on a line (with its line end).

    Raises
    ------
    ValueError : not an entry, or not byte for byte as `Entry.line` writes it.
    """
    try:
        entry = _ENTRY.validate_json(line, strict=True)
    except (ValidationError, RecursionError):
        raise ValueError("not an entry of a ledger") from None
    if entry.line() != line:
        raise ValueError("not written as entries are")
    return entry


def canonical(fields: dict[str, Any]) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, ASCII."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def hash_of(fields: dict[str, Any]) -> str:
    """Return the SHA-256 (hex) of the canonical JSON."""
    return hashlib.sha256(canonical(fields)).hexdigest()


def _check(pattern: re.Pattern[str], **texts: str) -> None:
    """Raise ValueError for a text that does not fit, without repeating the text."""
    for name, text in texts.items():
        if len(text) > LONGEST_TEXT or not pattern.match(text):
            raise ValueError(f"{name} is not a text that a ledger may hold")


_WEIGHTS, _OPENED, _WITHOUT = "weights: ", "sum opened: weights ", " without "
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9 _.:/@()+>,*-]")


def describe_item(statistic: Any, view: View) -> str:
    """Return names only, such as `Gram: clinical > Impute > Standardise`.

    Statistic, base tables and steps, no numbers and no columns: a coordinator that changes a number
    by a little asks for the same statistic. A text too long for a line of the ledger ends in a
    digest.
    """
    text = _NOT_A_NAME.sub("?", f"{describe(statistic)}: {describe_view(view)}")
    if len(text) <= LONGEST_TEXT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: LONGEST_TEXT - 30]}... ({digest})"


def describe_training(network: str, variant: str) -> str:
    """Return the name of a training of a network, such as `weights: dl3d/fold0`."""
    return f"{_WEIGHTS}{network}/{variant}"


def describe_opening(step: str, left_out: Sequence[str]) -> str:
    """Return the words for a sum that was opened over the sites present, and who was not.

    >>> describe_opening("dl3d/fold0/3", ["a", "b"])
    'sum opened: weights dl3d/fold0/3 without a, b'
    """
    missing = f"{_WITHOUT}{', '.join(left_out)}" if left_out else ""
    return f"{_OPENED}{step}{missing}"[:LONGEST_TEXT]


def training_of(what: str) -> str:
    """Return the training, as network and variant, that an item is about; empty for others.

    >>> training_of("weights: dl3d/final"), training_of("sum opened: weights dl3d/fold0/3")
    ('dl3d/final', 'dl3d/fold0')
    """
    if step := step_of(what):
        return step.rpartition("/")[0]
    return what.removeprefix(_WEIGHTS) if what.startswith(_WEIGHTS) else ""


def step_of(what: str) -> str:
    """Return the step whose sum was opened, from the words of `describe_opening`; empty for others.

    >>> step_of("sum opened: weights dl3d/fold0/3 without a"), step_of("weights: dl3d/final")
    ('dl3d/fold0/3', '')
    """
    opened = what.startswith(_OPENED)
    return what.removeprefix(_OPENED).partition(_WITHOUT)[0] if opened else ""


def left_out_of(what: str) -> tuple[str, ...]:
    """Return the sites that a sum was opened without, from the words of `describe_opening`."""
    names = what.partition(_WITHOUT)[2] if what.startswith(_OPENED) else ""
    return tuple(names.split(", ")) if names else ()


def describe_view(view: View) -> str:
    """Return the names of the base tables and of the steps over them."""
    return " > ".join([_source(view.source), *(type(step).__name__ for step in view.transforms)])


def _source(source: Any) -> str:
    if isinstance(source, Table):
        return source.name
    if isinstance(source, Paired):
        return f"{source.first.name} * {source.second.name}"
    if isinstance(source, Joined):
        return f"({' + '.join(describe_view(part) for part in source.parts)})"
    if isinstance(source, ByFold):
        kinds = dict.fromkeys(describe_view(part) for part in source.parts)
        return f"by fold ({' , '.join(kinds)})"
    raise ValueError("a view without a known source")


def request_digest(*asked: Any) -> str:
    """Return the SHA-256 (hex) of plain data, every number of every array included."""
    tree, arrays = to_tree(asked)
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode())
    for array in arrays:
        digest.update(f"\n{array.dtype.str}{list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
