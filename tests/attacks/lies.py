"""Lies of a coordinator, in process or by the program of a real deployment.

A lie changes the first question that it fits, as it is sent, at every site that is asked this
question. A coordinator that lies looks at no reply's receipt or question, and hears what
every site says before it gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import server.federation.federation
from common.masking.fingerprint import P
from common.messages.exchanges import (
    AgreeRequest,
    EvaluateRequest,
    KeyRequest,
    SumReply,
    SumRequest,
    Totals,
    TrainRequest,
)
from common.messages.plain import from_tree, to_tree
from server.federation.dispatch import Dispatch, Enough
from server.federation.federation import Federation
from server.federation.receipts import Receipts
from server.federation.totals import SumTotals

Change = Callable[[str, Any], Any]
"""Return a site's request changed, or None where the lie does not fit it."""
Put = Callable[[Any, str, Any], None]
LEFT_OUT = ("b", "south")
"""The hospital of a study that some lies are about."""


class Lie:
    """A change of the first question that it fits, at every site alike.

    Parameters
    ----------
    heard_by : sites that were lied to.
    """

    def __init__(self, change: Change) -> None:
        self._change, self._about = change, ""
        self.heard_by: list[str] = []

    def __call__(self, site: str, request: Any) -> Any:
        about = f"{type(request).__name__} {getattr(request, 'number', '')}"
        lie = self._change(site, request) if self._about in ("", about) else None
        if lie is None:
            return request
        if hasattr(request, "number"):
            self._about = about
        self.heard_by.append(site)
        return lie


def tell(lie: Lie, put: Put = setattr) -> None:
    """Let the coordinator of this process lie.

    Parameters
    ----------
    put : sets an attribute of an object.
    """
    honest, replies = Federation._sent, Dispatch.replies

    def sent(federation: Federation, site: str, request: Any) -> Any:
        return lie(site, honest(federation, site, request))

    def all_replies(dispatch: Dispatch, enough: Enough | None = None) -> Iterator[Any]:
        yield from list(replies(dispatch, enough))

    put(Federation, "_sent", sent)
    put(Dispatch, "replies", all_replies)
    put(Receipts, "take", lambda *_, **__: None)
    put(server.federation.federation, "check_answer", lambda *_: None)


def leave_out(put: Put = setattr) -> None:
    """Hand back the first total without one site's part, numbers and fingerprint, as it was sent.

    The coordinator itself goes on with the whole total.
    """
    add, going_back, parts = SumTotals.add, SumTotals.going_back, {}

    def keeping(totals: SumTotals, site: str, reply: SumReply) -> None:
        if site in LEFT_OUT:
            parts[id(totals)] = reply
        add(totals, site, reply)

    def without(totals: SumTotals, session: str, number: int) -> Totals:
        whole, part = going_back(totals, session, number), parts.pop(id(totals))
        if whole.ring64.size != part.ring64.size or whole.ring32.size != part.ring32.size:
            return whole
        return replace(
            whole,
            ring64=whole.ring64 - part.ring64,
            ring32=whole.ring32 - part.ring32,
            fingerprints=(whole.fingerprints + np.uint64(P) - part.fingerprints) % np.uint64(P),
        )

    put(SumTotals, "add", keeping)
    put(SumTotals, "going_back", without)


# -- what is asked ---------------------------------------------------------------------------------


def moved_edge(_: str, request: Any) -> Any:
    if not isinstance(request, SumRequest):
        return None
    for i, item in enumerate(request.items):
        edges = getattr(item.statistic, "edges", None)
        if edges is not None and np.isfinite(edges).any():
            moved = edges.copy()
            spot = tuple(np.argwhere(np.isfinite(moved))[0])
            moved[spot] = np.nextafter(moved[spot], np.inf)
            lie = replace(item, statistic=replace(item.statistic, edges=moved))
            return replace(request, items=(*request.items[:i], lie, *request.items[i + 1 :]))
    return None


def moved_coefficient(_: str, request: Any) -> Any:
    if not isinstance(request, SumRequest):
        return None
    for i, item in enumerate(request.items):
        tree, arrays = to_tree(item.view)
        floats = [k for k, a in enumerate(arrays) if a.dtype == np.float64 and a.size]
        if floats:
            arrays[floats[0]] = arrays[floats[0]] + 1e-6
            lie = replace(item, view=from_tree(tree, arrays))
            return replace(request, items=(*request.items[:i], lie, *request.items[i + 1 :]))
    return None


def other_column(_: str, request: Any) -> Any:
    """Two columns of a view in the other order."""
    if not isinstance(request, SumRequest):
        return None
    for i, item in enumerate(request.items):
        tree, arrays = to_tree(item.view)
        if _swapped(tree):
            lie = replace(item, view=from_tree(tree, arrays))
            return replace(request, items=(*request.items[:i], lie, *request.items[i + 1 :]))
    return None


def _swapped(tree: Any) -> bool:
    """Swap the first two columns that a tree names, in place; return whether it names any."""
    parts = list(tree.values()) if isinstance(tree, dict) else tree
    columns = tree.get("columns") if isinstance(tree, dict) else None
    if isinstance(columns, list) and len(columns) > 1:
        columns[:2] = columns[1::-1]
        return True
    return isinstance(parts, list) and any(_swapped(part) for part in parts)


def fewer_items(_: str, request: Any) -> Any:
    if isinstance(request, SumRequest) and len(request.items) > 1:
        return replace(request, items=request.items[1:])
    return None


def other_cutoffs(_: str, request: Any) -> Any:
    if not isinstance(request, EvaluateRequest):
        return None
    edges = request.edges.copy()
    edges[0, 1] = np.nextafter(edges[0, 1], 1.0)
    return replace(request, edges=edges)


def other_rate(_: str, request: Any) -> Any:
    if not isinstance(request, TrainRequest):
        return None
    rate = float(np.nextafter(request.plan.learning_rate, 1.0))
    return replace(request, plan=replace(request.plan, learning_rate=rate))


def other_fold(_: str, request: Any) -> Any:
    if not isinstance(request, TrainRequest):
        return None
    fold = request.plan.excluded_fold
    return replace(request, plan=replace(request.plan, excluded_fold=fold + 1))


def chosen_weights(_: str, request: Any) -> Any:
    """Weights of the coordinator's own: a site that derives them is sent none."""
    if not isinstance(request, TrainRequest):
        return None
    known = request.weights.size
    weights = request.weights + np.float32(1e-6) if known else np.ones(1000, dtype=np.float32)
    return replace(request, weights=weights)


# -- what questions follow from --------------------------------------------------------------------


def totals_plus(change: int) -> Change:
    def lie(_: str, request: Any) -> Any:
        for i, entry in enumerate(getattr(request, "progress", ())):
            if isinstance(entry, Totals) and entry.ring64.size:
                ring = entry.ring64.copy()
                ring[-1] += np.uint64(change % 2**64)
                forged = replace(entry, ring64=ring)
                progress = (*request.progress[:i], forged, *request.progress[i + 1 :])
                return replace(request, progress=progress)
        return None

    return lie


def mixed_rounds() -> Change:
    kept: dict[str, Totals] = {}

    def lie(site: str, request: Any) -> Any:
        for entry in getattr(request, "progress", ()):
            before = kept.get(site)
            kept[site] = entry
            if before is None or not isinstance(before, Totals) or entry.number == before.number:
                continue
            if not isinstance(entry, Totals):
                continue
            mixed = replace(before, number=entry.number)
            return replace(request, progress=(mixed,))
        return None

    return lie


def other_update(_: str, request: Any) -> Any:
    """The sum of the last round's updates, with one weight moved by one unit of the ring."""
    for i, entry in enumerate(getattr(request, "progress", ())):
        if isinstance(entry, Totals) and entry.ring32.size > 1000:
            ring = entry.ring32.copy()
            ring[0] += np.uint32(1)
            forged = replace(entry, ring32=ring)
            return replace(
                request, progress=(*request.progress[:i], forged, *request.progress[i + 1 :])
            )
    return None


def other_enrolments() -> Change:
    """One patient more at a hospital, for all hospitals but itself, and the key agreed on so."""
    shown: dict[str, KeyRequest] = {}

    def lie(site: str, request: Any) -> Any:
        if isinstance(request, AgreeRequest) and site in shown:
            return replace(request, enrolments=shown[site].digest)
        if not isinstance(request, KeyRequest) or site in LEFT_OUT:
            return None
        about = next(one for one in request.enrolments if one.site in LEFT_OUT)
        counts = {name: (n + 1, positives) for name, (n, positives) in about.counts.items()}
        false = replace(about, counts=counts)
        enrolments = tuple(false if one is about else one for one in request.enrolments)
        shown[site] = replace(request, enrolments=enrolments)
        return shown[site]

    return lie


def nothing() -> Change:
    return lambda *_: None


LIES: dict[str, Callable[[], Change]] = {
    "an edge by one unit in the last place": lambda: moved_edge,
    "a coefficient by 1e-6": lambda: moved_coefficient,
    "another column": lambda: other_column,
    "a sum less": lambda: fewer_items,
    "a total by one": lambda: totals_plus(1),
    "a total by 2^61 - 1": lambda: totals_plus(P),
    "a total by four times 2^61 - 1": lambda: totals_plus(-4 * P),
    "the totals of another round": mixed_rounds,
    "the cells of the test sets": lambda: other_cutoffs,
}
LIES_OF_TRAINING: dict[str, Callable[[], Change]] = {
    "a learning rate by one unit in the last place": lambda: other_rate,
    "another fold": lambda: other_fold,
    "weights": lambda: chosen_weights,
    "an update by one unit": lambda: other_update,
}
WITHOUT_A_SITE, OTHER_ENROLMENTS = "a total without one site", "different enrolments"
EVERY = {
    **LIES,
    **LIES_OF_TRAINING,
    WITHOUT_A_SITE: nothing,
    OTHER_ENROLMENTS: other_enrolments,
}


def tell_by_name(name: str, put: Put = setattr) -> Lie:
    """Let the coordinator of this process tell one of these lies."""
    lie = Lie(EVERY[name]())
    tell(lie, put)
    if name == WITHOUT_A_SITE:
        leave_out(put)
    return lie
