"""What was asked for, in names for the ledger and as a digest that every site can compare."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import numpy as np

from common.ledger.entry import LONGEST_TEXT
from common.messages.plain import to_tree
from common.statistics.base import describe
from common.transforms.views import ByFold, Joined, Paired, Table, View

_NOT_A_NAME = re.compile(r"[^A-Za-z0-9 _.:/@()+>,*-]")


def describe_item(statistic: Any, view: View) -> str:
    """Names of the statistic, base tables and steps: `Gram: clinical > Impute > Standardise`.

    Names only, no numbers and no columns: a coordinator that changes a number by a little asks for
    the same statistic. What is too long for a line of the ledger ends in a digest.
    """
    text = _NOT_A_NAME.sub("?", f"{describe(statistic)}: {describe_view(view)}")
    if len(text) <= LONGEST_TEXT:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: LONGEST_TEXT - 30]}... ({digest})"


def describe_view(view: View) -> str:
    """Names of the base tables and of the steps over them."""
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
    """SHA-256 (hex) of plain data, every number of every array included."""
    tree, arrays = to_tree(asked)
    digest = hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode())
    for array in arrays:
        digest.update(f"\n{array.dtype.str}{list(array.shape)}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
