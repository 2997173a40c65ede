"""Judge whether a reply may leave, from the request and the catalogue alone.

What the gate lets out is not what an app handed over but the gate's own encoding of what it read
there, so that nothing can hide between the fields. It cannot tell a masked sum from a made-up one;
no code but the installed release makes any (`client.gate.supernode`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray
from pydantic import ValidationError

from client.gate.schema import (
    GateContext,
    StoppedError,
    are_refusals,
    expect,
    expect_form,
    is_code,
)
from common.disclosure.membership import fewest_audited
from common.errors import InputError, SignatureError, StudyError
from common.evaluation.calibration_fit import CalibrationFit
from common.evaluation.canaries import CanaryAudit, rounded_up
from common.evaluation.follow_up_findings import FollowUpFindings, areas_of, check_consistent
from common.evaluation.level_areas import LevelAreas, publishable_levels
from common.evaluation.local import Evaluation
from common.evaluation.membership import MembershipAudit
from common.masking import identity
from common.masking.absence import Consent
from common.masking.agreement import SignedKey, check_key, roster_digest
from common.masking.layout import sizes
from common.masking.narrow import first_unpacked, ring_width, spread
from common.masking.pooled_rows import ring_size
from common.masking.update import update_sizes
from common.messages.codec import decode, decode_once, encode
from common.messages.exchanges import (
    CATALOGUE,
    DEVICE,
    DEVICES,
    READINGS,
    REPLIES_IN_PLACE,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    Problem,
    RowsReply,
    RowsRequest,
    SumReply,
    SumRequest,
    TrainReply,
    TrainRequest,
    answers,
)
from common.models import network_name
from common.statistics.placements import DeLongResult
from common.study.model import PrivacySettings, Study
from common.study.sums import subsets_of

_SEEN, _FEWEST_SEEN = 4096, 8
_IMAGE_TYPE = re.compile(
    r"original|wavelet-[HL]{3}|log-sigma-\d{1,2}-\d{1,2}-mm-3D|square|squareroot|logarithm"
    r"|exponential|gradient|lbp-3D-(m[12]|k)|lbp-2D"
)


def enrol(request: EnrolRequest, reply: EnrolReply, context: GateContext) -> None:
    """Let through this machine's software, counts and columns that the study calls for."""
    study = context.study
    versions = {name: text for name, text in reply.software.items() if name != DEVICE}
    expect(versions == dict(context.software), "text", "versions are not this machine's")
    expect(reply.software.get(DEVICE, "CPU") in DEVICES, "text", "a device that is not known")
    _check_columns(reply.columns, study)
    known = tuple(name for name in READINGS if name in reply.readings)
    expect(reply.readings == known, "text", "readings that are not known")
    if reply.key is not None:
        _check_key(reply.key, request, context)
    if reply.consent is not None:
        _check_consent(reply.consent, context)


def check_sums(request: SumRequest, reply: SumReply, context: GateContext) -> None:
    """Let through as many numbers as the statistics declare, masked where the study masks."""
    study = context.study
    own = subsets_of(study, context.site)
    expect({item.subset for item in request.items} <= {*own}, "shape", "a subset of other sites")
    found = [sizes(item.statistic, len(item.view.outputs())) for item in request.items]
    for ring, column in ((reply.ring64, 0), (reply.ring32, 1)):
        parts = zip(found, request.items, strict=True)
        _check_ring(ring, [(size[column], study.masked(item.subset)) for size, item in parts])


def train(request: TrainRequest, reply: TrainReply, context: GateContext) -> None:
    """Let through as many numbers as there are weights, and loss sums, masked where due."""
    study = context.study
    expect(context.site in study.training_sites, "not_declared", "this site does not train")
    expect(request.network in study.networks, "not_declared", "a network the study does not train")
    settings = study.network(network_name(request.network))
    grid, narrowest = (
        request.plan.grid,
        ring_width(settings.transfer_bits, len(study.training_sites)),
    )
    expect(grid.width in (0, narrowest if settings.transfer_bits < 32 else 0), "shape", "the grid")
    expect(not request.control.size or settings.spec.sends_control, "shape", "the control")
    sizes = update_sizes(request.trained, request.running, request.control.size, request.plan.grid)
    most = context.privacy.max_departures if request.plan.invited else 0
    expect(reply.departures <= most, "value", "rounds without some sites")
    private = study.differential_privacy.on
    expect(private or reply.epsilon == 0.0, "not_declared", "the cost in privacy")
    validates = request.plan.validation_fold >= 0
    expect(validates or not reply.objection, "not_declared", "an objection")
    try:
        first = first_unpacked(reply.narrow, sizes[1], grid.width, _SEEN)
    except ValueError:
        raise StoppedError("shape", "the changes of the weights") from None
    narrow = spread(first, grid.width)
    rings: tuple[NDArray[Any], ...] = (reply.parameters, narrow, reply.statistics)
    for ring, size in zip(rings, sizes, strict=True):
        _check_ring(ring, [(size, study.masked("train"))])


def rows(request: RowsRequest, reply: RowsReply, context: GateContext) -> None:
    """Let through as many numbers as all rows take, masked."""
    study = context.study
    size = ring_size(sum(request.counts.values()), len(request.columns))
    _check_ring(reply.ring32, [(size, study.masked("train"))])


def evaluate(request: EvaluateRequest, reply: EvaluateReply, context: GateContext) -> None:
    """Let through measures of the test sets asked for, of enough patients and no more models."""
    for name, evaluation in reply.evaluations.items():
        _check_areas(evaluation.delong, reply.counts[name], context.privacy)
        _check_evaluation(evaluation)
    for name, part in reply.parts.items():
        _check_areas(part, reply.counts[name], context.privacy)
        _check_fit(reply.fits[name], reply.counts[name])
    for name, followed in reply.followed.items():
        _check_followed(name, followed, reply.counts.get(name, (0, 0)), context)
    for strata in reply.strata.values():
        for levels in strata.values():
            _check_levels(levels, context.privacy)
    if reply.membership is not None:
        _check_membership(reply, reply.membership, context)
    if reply.canaries is not None:
        _check_canaries(reply.canaries, context)


def _check_followed(
    name: str, found: FollowUpFindings, counted: tuple[int, int], context: GateContext
) -> None:
    """Let through measures of times of enough own patients, without any small count."""
    study, fewest = context.study, context.privacy.min_cell
    grid, models = study.follow_up, (*study.base_models, *study.fusion_models)
    expect(grid is not None and not study.masked(name), "not_declared", "times of a set")
    expect(found.subset == name, "text", "the name of a set")
    _check_areas(areas_of(found), counted, context.privacy)
    try:
        check_consistent(found, study.time_grid.periods, len(models))
    except ValueError:
        raise StoppedError("value", "measures of times") from None
    expect(found.areas.shape[1] == len(study.time_grid.horizons), "shape", "areas of times")
    for group in found.groups:
        counts = np.concatenate([group.events, group.censored])
        expect(not ((counts > 0) & (counts < fewest)).any(), "too_few", "patients of a group")
    joined = (found.harrell, found.uno, found.areas)
    rounded = all(np.array_equal(own, np.round(own, 3), equal_nan=True) for own in joined)
    expect(rounded or fewest <= 1, "value", "measures of times with more decimals")


def _check_canaries(found: CanaryAudit, context: GateContext) -> None:
    """Let through rounded numbers of own patients, of a site that trains and derives."""
    trains = context.site in context.study.training_sites
    expect(trains and context.study.derivable, "not_declared", "this site has no totals to search")
    for own in vars(found).values():
        expect(max(own.found, own.chance) <= own.planted, "value", "canaries found")
        coarse = rounded_up(own.patients_found, own.patients, context.privacy.min_cell)
        expect(own.patients_found == coarse, "value", "own patients found")
        enough = own.patients == 0 or own.patients >= context.privacy.min_cell
        expect(enough, "too_few", "own patients searched")


def _check_membership(reply: EvaluateReply, found: MembershipAudit, context: GateContext) -> None:
    """Let through an attack on enough training patients and all test patients."""
    expect(context.site in context.study.training_sites, "not_declared", "this site does not train")
    tested = sum(reply.counts[name][0] for name in {*reply.parts, *reply.evaluations})
    expect(found.others == tested, "value", "patients attacked")
    enough = min(found.members, found.others) >= fewest_audited(context.privacy)
    expect(enough, "too_few", "patients attacked")


def _check_columns(columns: dict[str, tuple[str, ...]], study: Study) -> None:
    expect(columns["clinical"] == study.clinical_columns, "text", "clinical columns")
    features = columns.get("radiomics", ())
    expect(len(set(features)) == len(features), "text", "a feature is listed twice")
    if "radiomics" in columns:
        expect(len(features) == study.radiomics.expected_features, "shape", "radiomics features")
    for feature in features:
        image_type, _, rest = feature.partition("_")
        real = _IMAGE_TYPE.fullmatch(image_type) and rest in _feature_names()
        expect(real, "text", "a column that is no radiomics feature")


@lru_cache(maxsize=1)
def _feature_names() -> frozenset[str]:
    """Return class and name of every feature that PyRadiomics has."""
    from radiomics import getFeatureClasses

    classes = getFeatureClasses().items()
    return frozenset(f"{name}_{feature}" for name, c in classes for feature in c.getFeatureNames())


def _check_key(key: SignedKey, request: EnrolRequest, context: GateContext) -> None:
    roster = context.study.roster
    expect(key.site == context.site, "text", "a key in another site's name")
    try:
        public = identity.public_key(roster[context.site])
        check_key(key, public, request.run, request.study, roster_digest(roster), request.session)
    except (InputError, SignatureError) as error:
        raise StoppedError("text", f"not a key that this site signed now: {error}") from None


def _check_consent(consent: Consent, context: GateContext) -> None:
    """Let through a consent that this site's key signed, for this study alone."""
    roster = context.study.roster
    about = context.site, roster[context.site], roster_digest(roster), context.study.digest()
    try:
        consent.by(*about)
    except (SignatureError, ValueError):
        raise StoppedError("text", "not a consent that this site signed") from None


def _check_ring(ring: NDArray[Any], parts: Sequence[tuple[int, bool]]) -> None:
    """Let through numbers that make up the parts, spread over the whole ring where masked.

    Of eight masked numbers, all are within the middle 1/128 of the ring once in 2^56.

    Parameters
    ----------
    parts : the size of each, and whether it should be masked.
    """
    limit, start = 2 ** (8 * ring.itemsize - 8), 0
    for size, masked in parts:
        signed = ring[start : start + min(size, _SEEN)].view(f"i{ring.itemsize}")
        near_zero = bool(((signed < limit) & (signed >= -limit)).all())
        hidden = not masked or size < _FEWEST_SEEN or not near_zero
        expect(hidden, "not_masked", "sums that should be masked and are not")
        start += size


def _check_areas(areas: DeLongResult, counted: tuple[int, int], privacy: PrivacySettings) -> None:
    """Let through areas of enough patients of both classes, as many as were counted."""
    n, positives = counted
    expect((areas.n, areas.positives) == counted, "value", "areas of other numbers of patients")
    expect(n >= privacy.min_rows, "too_few", "patients of a test set")
    fewest = min(positives, n - positives)
    expect(fewest >= privacy.min_per_class, "too_few", "patients of one class of a test set")
    expect(np.isfinite(areas.auc).all(), "value", "areas")


def _check_fit(fit: CalibrationFit, counted: tuple[int, int]) -> None:
    """Let through the calibration of as many patients as were counted."""
    expect((fit.n, fit.positives) == counted, "value", "calibration of other numbers of patients")
    expect(not (fit.expected > fit.n).any(), "value", "expected numbers of patients")


def _check_levels(found: LevelAreas, privacy: PrivacySettings) -> None:
    """Let through levels of a stratum, with areas only where patients are enough."""
    counts, hidden = found.counts, found.hidden > 0.5
    expect((counts[hidden] == 0.0).all(), "too_few", "patients of a level that is withheld")
    expect(((counts == 0) | (counts >= privacy.min_cell)).all(), "too_few", "patients of a level")
    publishable = publishable_levels(counts, hidden, privacy)
    levels = zip(counts, found.areas, found.fits, publishable, strict=True)
    for own, area, fit, allowed in levels:
        told = (int(own.sum()), int(own[1])) if allowed else (0, 0)
        expect((area.n, area.positives) == told, "value", "patients of an area")
        _check_fit(fit, told)
        if allowed:
            expect(np.isfinite(area.auc).all(), "value", "areas of a level")
        else:
            figures = (area.auc, area.covariance, *list(vars(fit).values())[2:])
            nothing = all(np.isnan(own).all() for own in figures)
            expect(nothing, "too_few", "areas of a level")


def _check_evaluation(found: Evaluation) -> None:
    """Let through measures of one number of patients."""
    counted = (found.decision.n, found.decision.positives)
    expect(counted == (found.delong.n, found.delong.positives), "value", "the decision curve")
    _check_fit(found.fit, counted)


def read_request(exchange: str, content: RecordDict) -> Any:
    """Return the request of a message.

    Raises
    ------
    StoppedError : not in the catalogue, or not the request that this exchange has.
    """
    expect(exchange in CATALOGUE, "unknown_exchange", "the kind of message is not known")
    try:
        request = decode_once(content)
    except Exception as error:  # whatever the other side wrote, nothing happens
        raise StoppedError("request_unreadable", type(error).__name__) from None
    wanted = CATALOGUE[exchange].request
    expect(type(request) is wanted, "request_unreadable", f"the request is not a {wanted.__name__}")
    names = (request.run, request.study, getattr(request, "session", ""))
    texts = all(isinstance(name, str) for name in names)
    expect(texts, "request_unreadable", "the request names no run, study or session")
    return request


def approved_study(
    request: Any, site: str, approved: frozenset[str] | None, recall: Callable[[str], Study]
) -> Study:
    """Return the study that a request is about, if this site has approved it.

    Parameters
    ----------
    approved : digests; None = any study, in a simulation.
    recall : the study of a digest, among those this site was shown.

    Raises
    ------
    StoppedError : not approved, unknown, with another digest than stated, or without this site.
    """
    if approved is not None and request.study not in approved:
        raise StoppedError(
            "study_not_approved", f"study {request.study[:12]!r} is not approved here"
        )
    try:
        if isinstance(request, EnrolRequest):
            study = Study.model_validate_json(request.study_json)
        else:
            study = recall(request.study)
    except (ValidationError, StudyError, OSError) as error:
        raise StoppedError("study_unknown", f"the study cannot be read: {error}") from None
    expect(study.digest() == request.study, "study_unknown", "the study has another digest")
    expect(site in study.site_names, "not_on_roster", f"the study has no site {site}")
    return study


def inspect(exchange: str, request: Any, content: RecordDict, context: GateContext) -> RecordDict:
    """Return the gate's own encoding of a reply that may leave.

    Parameters
    ----------
    request : what was asked; None when nothing was.
    content : the reply as the app handed it over.

    Raises
    ------
    StoppedError : the reply must not leave. After any other error it must not either.
    """
    expect(request is not None, "not_asked")
    expect(exchange in CATALOGUE, "unknown_exchange")
    reply, canonical = _decoded(content)
    in_place = isinstance(reply, REPLIES_IN_PLACE)
    expect(in_place or type(reply) is CATALOGUE[exchange].reply, "wrong_reply")
    if isinstance(request, EvaluateRequest) and not in_place:
        most = len(context.study.base_models) + len(context.study.fusion_models)
        expect(request.edges.shape[0] <= most, "not_declared", "more models than the study has")
    expect_form(request, reply, context)
    exact = are_refusals(reply, context.study, context.privacy, context.site)
    expect(exact, "text", "a refusal that is not one of the rules'")
    if in_place:
        expect(reply.site in ("", context.site), "other_question")
        known = not isinstance(reply, Problem) or is_code(reply)
        expect(known, "text", "a problem of an unknown kind")
    else:
        if exchange in CHECKS:
            CHECKS[exchange](request, reply, context)
        expect(answers(request, reply, context.site), "other_question")
    return canonical


def _decoded(content: RecordDict) -> tuple[Any, RecordDict]:
    try:
        reply = decode(content)
        canonical = encode(reply)
    except Exception as error:
        raise StoppedError("undecodable", f"not a message: {type(error).__name__}") from None
    expect(same_record(content, canonical), "extra_content")
    return reply, canonical


def same_record(left: RecordDict, right: RecordDict) -> bool:
    """Tell if two records are the same to the byte: keys, texts, layouts, numbers."""
    if list(left) != list(right):
        return False
    for name, record in left.items():
        other = right[name]
        if type(record) is not type(other) or list(record) != list(other):
            return False
        if any(part != other[key] for key, part in record.items()):
            return False
    return True


CHECKS: dict[str, Callable[[Any, Any, GateContext], None]] = {
    "query.enrol": enrol,
    "query.sum": check_sums,
    "train.network": train,
    "query.rows": rows,
    "evaluate.handout": evaluate,
}
