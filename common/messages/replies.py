"""Form of a reply: all that its class, its request and the study leave no choice in.

The gate of a site lets out no reply of another form, and the coordinator takes none in: of a site
whose gate was changed, a length or a name would otherwise fail somewhere in the study's program.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.disclosure.membership import audited_models
from common.disclosure.rule import RULES
from common.evaluation.level_areas import LevelAreas
from common.evaluation.local import Evaluation
from common.masking.fingerprint import P
from common.masking.fixed_point import KEY_BYTES
from common.masking.group_key import SEALED_BYTES
from common.masking.identity import SIGNATURE_BYTES
from common.masking.layout import sizes
from common.masking.narrow import packed_size
from common.masking.pooled_rows import ring_size
from common.masking.update import SUMS, update_sizes
from common.messages.conforming import Fault, UnfitError, conform
from common.messages.exchanges import (
    AgreeReply,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    FollowReply,
    KeyReply,
    KeyRequest,
    Problem,
    Refusal,
    Refused,
    RowsReply,
    RowsRequest,
    SumReply,
    SumRequest,
    TrainReply,
    TrainRequest,
)
from common.messages.opening import OpenReply, OpenRequest, SignReply, SignRequest
from common.messages.totals import groups
from common.study.model import Study
from common.study.strata import level_names, strata_columns
from common.study.sums import subsets_of

_RADIOMICS = "radiomics"


def check_form(request: Any, reply: Any, study: Study, site: str) -> None:
    """Return if a reply has the form that its request and the study give it.

    Parameters
    ----------
    reply : of the exchange's own class, or one in its place.
    site : that was asked.

    Raises
    ------
    UnfitError : names the field; a value is not repeated.
    """
    in_place = isinstance(reply, (Refused, Problem))
    lengths = {} if in_place else _lengths(request, study)
    conform(reply, type(reply), type(reply).__name__, lengths)
    subsets = ("", *subsets_of(study, site))
    for name in ("refusals", "withheld"):
        _check_refusals(getattr(reply, name, ()), subsets, name)
    if isinstance(reply, Refused):
        _expect(reply.refusals, "text", "refusals, of which there is none")
    if not in_place:
        FORMS[type(reply)](request, reply, study, site)


def _lengths(request: Any, study: Study) -> dict[str, int]:
    """Return the lengths that a request gives to arrays of its reply."""
    if not isinstance(request, EvaluateRequest):
        return {}
    models = request.edges.shape[0]
    left_out = {*study.fusion_models} - {*audited_models(study, study.fusion_models)}
    return {"models": models, "attacked": models - len(left_out)}


def _check_refusals(found: Iterable[Refusal], subsets: tuple[str, ...], name: str) -> None:
    for one in found:
        known = one.rule in RULES and one.subset in subsets and math.isfinite(one.threshold)
        _expect(known, "text", f"{name}, not one of the rules'")


def _enrol(request: EnrolRequest, reply: EnrolReply, study: Study, site: str) -> None:
    _expect(set(reply.counts) == {*subsets_of(study, site)}, "shape", "counts of subsets")
    _check_counts(reply.counts)
    wanted = {"clinical", *((_RADIOMICS,) if study.needs_images else ())}
    _expect(reply.key is None or study.roster.get(site), "shape", "a key that nobody can check")
    _expect("clinical" in reply.columns, "text", "tables, without a clinical one")
    _expect(set(reply.columns) <= wanted, "text", "tables that are not known")


def _key(request: KeyRequest, reply: KeyReply, study: Study, site: str) -> None:
    others = set(study.site_names) - {site}
    _expect(set(reply.sealed) == others, "shape", "contributions to the key")
    for sealed in reply.sealed.values():
        _check_length(sealed, SEALED_BYTES, "a contribution to the key")


def _sums(request: SumRequest, reply: SumReply, study: Study, site: str) -> None:
    _check_fingerprints(reply.fingerprints, len(groups(request.items)))
    found = [sizes(item.statistic, len(item.view.outputs())) for item in request.items]
    for ring, column in ((reply.ring64, 0), (reply.ring32, 1)):
        _check_length(ring, sum(size[column] for size in found), "numbers of a ring")


def _train(request: TrainRequest, reply: TrainReply, study: Study, site: str) -> None:
    grid, invited = request.plan.grid, request.plan.invited
    whole = set(invited) == set(study.training_sites)
    wanted = update_sizes(request.trained, request.running, request.control.size, grid)
    _check_fingerprints(reply.fingerprints, 1 + whole)
    _check_length(reply.sums, SUMS * whole, "the sums of an update")
    _check_length(reply.parameters, wanted[0], "numbers of a ring")
    packed = packed_size(wanted[1], grid.width) if grid else 0
    _check_length(reply.narrow, packed, "the changes of the weights")
    _check_length(reply.statistics, wanted[2], "numbers of a ring")
    _expect(len(reply.objection) in (0, 2), "shape", "an objection")
    _expect(math.isfinite(reply.epsilon), "value", "the cost in privacy")


def _sign(request: SignRequest, reply: SignReply, study: Study, site: str) -> None:
    _check_length(reply.signature, SIGNATURE_BYTES, "a signature")


def _open(request: OpenRequest, reply: OpenReply, study: Study, site: str) -> None:
    partners = study.step_partners(site, request.opening.invited)
    wanted = set(partners) & set(request.opening.left_out)
    _expect(set(reply.pairs) == wanted, "shape", "keys of a step")
    for key in (reply.own, *reply.pairs.values()):
        _check_length(key, KEY_BYTES, "keys of a step")


def _rows(request: RowsRequest, reply: RowsReply, study: Study, site: str) -> None:
    size = ring_size(sum(request.counts.values()), len(request.columns))
    _check_length(reply.ring32, size, "numbers of a ring")


def _evaluate(request: EvaluateRequest, reply: EvaluateReply, study: Study, site: str) -> None:
    members = {test.name: len(test.sites) for test in study.test_sets if site in test.sites}
    alone = {name for name in request.test_sets if members.get(name) == 1}
    _expect(set(reply.counts) == {*request.test_sets}, "shape", "counts of the sets asked for")
    _expect(set(reply.evaluations) <= alone, "shape", "measures of a set")
    _expect(set(reply.parts) <= {*request.test_sets} - alone, "shape", "areas of a set")
    _expect(set(reply.fits) == set(reply.parts), "shape", "calibration of a set")
    _expect(set(reply.strata) <= set(reply.evaluations), "shape", "strata of a set")
    _check_counts(reply.counts)
    for evaluation in reply.evaluations.values():
        _check_evaluation(evaluation, request)
    for levels in reply.strata.values():
        _check_strata(levels, request, study)


def _check_counts(counts: Mapping[str, tuple[int, int]]) -> None:
    for n, positives in counts.values():
        _expect(positives <= n, "value", "numbers of patients")


def _check_evaluation(found: Evaluation, request: EvaluateRequest) -> None:
    """Expect a histogram in cells that were asked about, joined or not."""
    for own, asked in zip(found.histogram.edges, request.edges, strict=True):
        _expect((np.isin(own, asked) | np.isinf(own)).all(), "value", "edges nobody asked for")
    cells = found.histogram.counts.shape[-1]
    _expect(1 <= cells < request.edges.shape[1], "shape", "cells of the histogram")
    _expect(found.histogram.edges.shape[1] == cells + 1, "shape", "edges of the histogram")


def _check_strata(found: Mapping[str, LevelAreas], request: EvaluateRequest, study: Study) -> None:
    """Expect the levels of the study's strata."""
    columns = {column.name: column for column in strata_columns(study)}
    _expect(set(found) == set(columns), "shape", "strata the study does not have")
    for name, own in found.items():
        size = len(level_names(columns[name], request.cuts.get(name)))
        fits = len(own.counts) == len(own.areas) == len(own.fits) == size
        _expect(fits, "shape", "levels")


def _check_fingerprints(found: NDArray[Any], most: int) -> None:
    _expect(found.shape in ((0,), (most,)), "shape", "fingerprints")
    _expect((found < P).all(), "value", "fingerprints")


def _check_length(found: NDArray[Any], length: int, what: str) -> None:
    _expect(found.shape == (length,), "shape", what)


def _expect(holds: object, fault: Fault, where: str) -> None:
    if not holds:
        raise UnfitError(fault, where)


def _nothing_more(request: Any, reply: Any, study: Study, site: str) -> None:
    """Return, as the reply says nothing but which question it answers."""


FORMS: dict[type, Callable[[Any, Any, Study, str], None]] = {
    EnrolReply: _enrol,
    KeyReply: _key,
    SumReply: _sums,
    TrainReply: _train,
    SignReply: _sign,
    OpenReply: _open,
    RowsReply: _rows,
    EvaluateReply: _evaluate,
    AgreeReply: _nothing_more,
    FollowReply: _nothing_more,
}
