"""Judge whether a reply may leave, from the request and the catalogue alone.

What the gate lets out is not what an app handed over but the gate's own encoding of what it read
there, so that nothing can hide between the fields. It cannot tell a masked sum from a made-up one;
no code but the installed release makes any (`client.gate.supernode`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray
from pydantic import ValidationError

from client.gate.schema import GateContext, StoppedError, conform, expect
from client.gate.vocabulary import CODES, are_refusals, is_code
from common.disclosure.forms import FormError, check_form, check_out_of_fold
from common.disclosure.membership import audited_models, fewest_audited
from common.errors import InputError, SignatureError, StudyError
from common.evaluation.level_areas import LevelAreas, publishable_levels
from common.evaluation.local import Evaluation
from common.evaluation.membership import DECIMALS, MembershipAudit
from common.evaluation.release_audit import ReleaseAudit
from common.masking import identity
from common.masking.agreement import SignedKey, check_key, roster_digest
from common.masking.fingerprint import P
from common.masking.group_key import SEALED_BYTES
from common.masking.layout import sizes
from common.masking.pooled_rows import ring_size
from common.masking.update import update_sizes
from common.messages.codec import decode, decode_once, encode
from common.messages.exchanges import (
    CATALOGUE,
    DEVICE,
    DEVICES,
    REPLIES_IN_PLACE,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    KeyReply,
    KeyRequest,
    Problem,
    RowsReply,
    RowsRequest,
    SumItem,
    SumReply,
    SumRequest,
    TrainReply,
    TrainRequest,
    answers,
)
from common.messages.totals import groups
from common.models import network_name
from common.statistics.placements import DeLongResult
from common.statistics.scores import THRESHOLDS
from common.study.model import PrivacySettings, Study
from common.study.strata import level_names, strata_columns
from common.study.sums import left_in_clear, subsets_of

READINGS = ("r1_repeat", "r2", "r2_repeat")
MOST_PATIENTS = 10_000_000
CALIBRATION_BINS = 10
_SEEN, _FEWEST_SEEN = 4096, 8
_IMAGE_TYPE = re.compile(
    r"original|wavelet-[HL]{3}|log-sigma-\d{1,2}-\d{1,2}-mm-3D|square|squareroot|logarithm"
    r"|exponential|gradient|lbp-3D-(m[12]|k)|lbp-2D"
)


def enrol(request: EnrolRequest, reply: EnrolReply, context: GateContext) -> None:
    """Let through this machine's software, counts and columns that the study calls for."""
    study = context.study
    _expect_no_clear_sums(context, *subsets_of(study, context.site))
    versions = {name: text for name, text in reply.software.items() if name != DEVICE}
    expect(versions == dict(context.software), "text", "versions are not this machine's")
    expect(reply.software.get(DEVICE, "CPU") in DEVICES, "text", "a device that is not known")
    expect(set(reply.counts) == set(subsets_of(study, context.site)), "shape", "counts of subsets")
    for n, positives in reply.counts.values():
        _check_counts(n, positives)
    _check_columns(reply.columns, study)
    readings = tuple(name for name in READINGS if name in reply.readings)
    expect(reply.readings == readings, "text", "readings that are not known")
    expect(0 <= reply.excluded <= MOST_PATIENTS, "value", "patients left out")
    if reply.key is not None:
        _check_key(reply.key, request, context)


def key(request: KeyRequest, reply: KeyReply, context: GateContext) -> None:
    """Let through one sealed contribution for each other site."""
    others = set(context.study.site_names) - {context.site}
    expect(set(reply.sealed) == others, "shape", "contributions to the key")
    for sealed in reply.sealed.values():
        expect(sealed.shape == (SEALED_BYTES,), "shape", "a contribution to the key")


def nothing_more(request: Any, reply: Any, context: GateContext) -> None:
    """Let through a reply that says nothing but which question it answers."""


def _check_fingerprints(found: NDArray[Any], most: int) -> None:
    expect(found.shape in ((0,), (most,)), "shape", "fingerprints")
    expect((found < P).all(), "value", "fingerprints")


def check_sums(request: SumRequest, reply: SumReply, context: GateContext) -> None:
    """Let through as many numbers as the statistics declare, masked where the study masks."""
    study = context.study
    for item in request.items:
        _expect_form(check_form, item.view, study)
    _expect_no_clear_sums(context, *{item.subset for item in request.items})
    _check_fingerprints(reply.fingerprints, len(groups(request.items)))
    found = [_sizes(item, context) for item in request.items]
    for ring, bits, column in ((reply.ring64, 64, 0), (reply.ring32, 32, 1)):
        own = [size[column] for size in found]
        expect(ring.shape == (sum(own),), "shape", f"the ring of {bits} bits")
        ends = np.cumsum(own, dtype=np.int64)
        for item, size, end in zip(request.items, own, ends, strict=True):
            if study.masked(item.subset):
                _expect_masked(ring[end - size : end])


def train(request: TrainRequest, reply: TrainReply, context: GateContext) -> None:
    """Let through as many numbers as there are weights, and loss sums, masked where due."""
    study = context.study
    expect(context.site in study.training_sites, "not_declared", "this site does not train")
    _expect_no_clear_sums(context, "train")
    expect(request.network in study.networks, "not_declared", "a network the study does not train")
    settings = study.network(network_name(request.network))
    expect(not request.plan.grid or settings.transfer_bits == 16, "shape", "the weights")
    expect(not request.control.size or settings.spec.sends_control, "shape", "the control")
    sizes = update_sizes(request.trained, request.running, request.control.size, request.plan.grid)
    _check_fingerprints(reply.fingerprints, 1)
    private = study.differential_privacy.on
    expect(0.0 <= reply.epsilon < np.inf, "value", "the cost in privacy")
    expect(private or reply.epsilon == 0.0, "not_declared", "the cost in privacy")
    _expect_objection(reply, validates=request.plan.validation_fold >= 0)
    rings: tuple[NDArray[Any], ...] = (reply.parameters, reply.ring16, reply.statistics)
    for ring, size in zip(rings, sizes, strict=True):
        expect(ring.shape == (size,), "shape", "the change of the weights")
        if study.masked("train"):
            _expect_masked(ring)


def _expect_objection(reply: TrainReply, *, validates: bool) -> None:
    """Let two losses through, each with two decimals, where patients are held out."""
    losses = reply.objection
    expect(validates or not losses, "not_declared", "an objection")
    expect(len(losses) in (0, 2), "shape", "an objection")
    rounded = all(0.0 <= one <= 1e6 and round(one, 2) == one for one in losses)
    expect(rounded, "value", "an objection")


def rows(request: RowsRequest, reply: RowsReply, context: GateContext) -> None:
    """Let through as many numbers as all rows take, masked, if the study shares rows."""
    study = context.study
    expect(study.fusion.pooling == "rows", "not_declared", "the study does not share rows")
    expect(context.site in study.training_sites, "not_declared", "this site does not train")
    _expect_form(check_out_of_fold, request.columns, study)
    _expect_no_clear_sums(context, "train")
    expect(len(study.training_sites) != 2, "not_declared", "rows of two hospitals")
    expect(set(request.counts) == set(study.training_sites), "not_declared", "rows of other sites")
    size = ring_size(sum(request.counts.values()), len(request.columns))
    expect(reply.ring32.shape == (size,), "shape", "the rows")
    if study.masked("train"):
        _expect_masked(reply.ring32)


def evaluate(request: EvaluateRequest, reply: EvaluateReply, context: GateContext) -> None:
    """Let through measures of the test sets asked for, of enough patients and no more models."""
    study = context.study
    most = len(study.base_models) + len(study.fusion_models)
    expect(request.edges.shape[0] <= most, "not_declared", "more models than the study has")
    known = set(request.test_sets) & {t.name for t in study.test_sets if context.site in t.sites}
    alone = {name for name in known if len(study.test_set(name).sites) == 1}
    expect(set(reply.counts) <= known, "shape", "counts of a set that was not asked for")
    expect(set(reply.evaluations) <= alone & set(reply.counts), "shape", "measures of a set")
    expect(set(reply.parts) <= (known - alone) & set(reply.counts), "shape", "areas of a set")
    expect(set(reply.strata) <= set(reply.evaluations), "shape", "strata of a set")
    for levels in reply.strata.values():
        _check_strata(levels, request, context)
    for n, positives in reply.counts.values():
        _check_counts(n, positives)
    for name, part in reply.parts.items():
        _check_areas(part, request, reply.counts[name], context)
    for name, evaluation in reply.evaluations.items():
        _check_areas(evaluation.delong, request, reply.counts[name], context)
        _check_evaluation(evaluation, request)
    if reply.membership is not None:
        _check_membership(reply, reply.membership, request, context)
    if reply.releases is not None:
        _check_releases(reply.releases)


def _check_releases(found: ReleaseAudit) -> None:
    """Let through two counts, and a cost in privacy with two decimals."""
    for count in (found.smallest, found.determined):
        expect(0 <= count <= MOST_PATIENTS, "value", "patients of the sets asked about")
    if found.epsilon is not None:
        rounded = 0.0 <= found.epsilon < np.inf and round(found.epsilon, DECIMALS) == found.epsilon
        expect(rounded, "value", "the cost in privacy")


def _check_membership(
    reply: EvaluateReply, found: MembershipAudit, request: EvaluateRequest, context: GateContext
) -> None:
    """Let through shares with two decimals, of enough training and test patients."""
    expect(context.site in context.study.training_sites, "not_declared", "this site does not train")
    tested = sum(reply.counts[name][0] for name in {*reply.parts, *reply.evaluations})
    expect(found.others == tested and found.members <= MOST_PATIENTS, "value", "patients attacked")
    fewest = fewest_audited(context.privacy)
    expect(min(found.members, found.others) >= fewest, "too_few", "patients attacked")
    study = context.study
    left_out = {*study.fusion_models} - {*audited_models(study, study.fusion_models)}
    models = request.edges.shape[0] - len(left_out)
    for shares in (found.auc, found.tpr):
        expect(shares.shape == (models, 3), "shape", "success of an attack")
        rounded = np.round(shares, DECIMALS) == shares
        possible = rounded & (shares >= 0.0) & (shares <= 1.0)
        expect(possible.all(), "value", "success of an attack")


def _expect_form(check: Callable[[Any, Study], None], asked: Any, study: Study) -> None:
    try:
        check(asked, study)
    except FormError as error:
        raise StoppedError("not_declared", f"asked for in another form: {error}") from None


def _expect_no_clear_sums(context: GateContext, *subsets: str) -> None:
    """Stop sums that this site's own file wants masked, where the study does not mask."""
    clear = left_in_clear(context.study, context.privacy.masking, subsets)
    expect(not clear, "not_masked", "masking in site.toml is stricter than the study's")


def _check_counts(n: int, positives: int) -> None:
    expect(0 <= positives <= n <= MOST_PATIENTS, "value", "numbers of patients")


def _check_columns(columns: dict[str, tuple[str, ...]], study: Study) -> None:
    known = {"clinical"} | ({"radiomics"} if study.needs_images else set())
    expect("clinical" in columns and set(columns) <= known, "text", "tables that are not known")
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
        raise StoppedError(
            "text", f"not a key that this site signed for this run: {error}"
        ) from None


def _sizes(item: SumItem, context: GateContext) -> tuple[int, int]:
    expect(
        item.subset in subsets_of(context.study, context.site), "shape", "a subset of other sites"
    )
    try:
        return sizes(item.statistic, len(item.view.outputs()))
    except (AttributeError, TypeError, ValueError):
        raise StoppedError(
            "request_unreadable", "the request does not say how large a sum is"
        ) from None


def _expect_masked(ring: NDArray[Any]) -> None:
    """Stop numbers near zero: under a mask they are spread over the whole ring.

    Of eight masked numbers, all are within the middle 1/128 of the ring once in 2^56.
    """
    signed = ring[:_SEEN].view(f"i{ring.itemsize}")
    if signed.size >= _FEWEST_SEEN:
        limit = 2 ** (8 * ring.itemsize - 8)
        near_zero = (signed < limit) & (signed >= -limit)
        expect(not near_zero.all(), "not_masked", "sums that should be masked and are not")


def _check_areas(
    areas: DeLongResult,
    request: EvaluateRequest,
    counted: tuple[int, int],
    context: GateContext,
) -> None:
    models = request.edges.shape[0]
    expect((areas.n, areas.positives) == counted, "value", "areas of other numbers of patients")
    n, positives = counted
    privacy = context.privacy
    expect(n >= privacy.min_rows, "too_few", "patients of a test set")
    fewest = min(positives, n - positives)
    expect(fewest >= privacy.min_per_class, "too_few", "patients of one class of a test set")
    expect(areas.auc.shape == (models,), "shape", "areas")
    expect(areas.covariance.shape == (models, models), "shape", "covariances")
    expect(((areas.auc >= 0.0) & (areas.auc <= 1.0)).all(), "value", "areas")


def _check_strata(
    found: Mapping[str, LevelAreas], request: EvaluateRequest, context: GateContext
) -> None:
    """Let through levels of the study's strata, with areas only where patients are enough."""
    columns = {column.name: column for column in strata_columns(context.study)}
    expect(set(found) == set(columns), "shape", "strata the study does not have")
    for name, levels in found.items():
        size = len(level_names(columns[name], request.cuts.get(name)))
        _check_levels(levels, size, request.edges.shape[0], context.privacy)


def _check_levels(found: LevelAreas, size: int, models: int, privacy: PrivacySettings) -> None:
    expect(found.counts.shape == (size, 2), "shape", "patients of levels")
    expect(found.hidden.shape == (size,) and len(found.areas) == size, "shape", "levels")
    counts = found.counts
    whole = (counts >= 0.0) & (counts <= MOST_PATIENTS) & (counts == np.rint(counts))
    expect(whole.all(), "value", "patients of levels that are no counts")
    expect(np.isin(found.hidden, (0.0, 1.0)).all(), "value", "levels that are withheld")
    hidden = found.hidden > 0.5
    expect((counts[hidden] == 0.0).all(), "too_few", "patients of a level that is withheld")
    expect(((counts == 0) | (counts >= privacy.min_cell)).all(), "too_few", "patients of a level")
    publishable = publishable_levels(counts, hidden, privacy)
    for own, area, allowed in zip(counts, found.areas, publishable, strict=True):
        expect(area.auc.shape == (models,), "shape", "areas of a level")
        expect(area.covariance.shape == (models, models), "shape", "covariances of a level")
        if not allowed:
            nothing = area.n == area.positives == 0 and np.isnan(area.auc).all()
            expect(nothing and np.isnan(area.covariance).all(), "too_few", "areas of a level")
            continue
        expect((area.n, area.positives) == (int(own.sum()), int(own[1])), "value", "areas")
        expect(((area.auc >= 0.0) & (area.auc <= 1.0)).all(), "value", "areas of a level")


def _check_evaluation(found: Evaluation, request: EvaluateRequest) -> None:
    models, edges = request.edges.shape
    kept = found.histogram.edges
    cells = kept.shape[-1] - 1
    few = kept.shape == (models, cells + 1) and 1 <= cells <= edges - 1
    expect(few, "shape", "edges of the histogram")
    for own, asked in zip(kept, request.edges, strict=True):
        expect((np.isin(own, asked) | np.isinf(own)).all(), "value", "edges nobody asked for")
    curve = (models, THRESHOLDS.size)
    shapes = {
        "counts of the histogram": (found.histogram.counts, (models, 2, cells)),
        "single values of the histogram": (found.histogram.single, (models, cells)),
        "true positives": (found.confusion.tp, (models,)),
        "true negatives": (found.confusion.tn, (models,)),
        "false positives": (found.confusion.fp, (models,)),
        "false negatives": (found.confusion.fn, (models,)),
        "rows in bins": (found.calibration.count, (models, CALIBRATION_BINS)),
        "positives in bins": (found.calibration.positives, (models, CALIBRATION_BINS)),
        "true positives of the decision curve": (found.decision.tp, curve),
        "false positives of the decision curve": (found.decision.fp, curve),
    }
    for what, (counts, shape) in shapes.items():
        expect(counts.shape == shape, "shape", what)
        whole = (counts >= 0.0) & (counts <= MOST_PATIENTS) & (counts == np.rint(counts))
        expect(whole.all(), "value", f"{what} that are no counts")
    expect(found.calibration.probability.shape == (models, CALIBRATION_BINS), "shape", "bins")
    expect(found.brier.shape == (models,), "shape", "Brier scores")
    counted = (found.decision.n, found.decision.positives)
    expect(counted == (found.delong.n, found.delong.positives), "value", "the decision curve")


@dataclass(frozen=True)
class Verdict:
    """Decision about a reply: an empty code and what may leave, or a code and plain words.

    Parameters
    ----------
    content : the gate's own encoding of the reply that it read.
    """

    code: str
    words: str
    content: RecordDict | None = None

    @property
    def passed(self) -> bool:
        """Tell if the reply may leave."""
        return not self.code


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


def inspect(exchange: str, request: Any, content: RecordDict, context: GateContext) -> Verdict:
    """Judge a reply.

    Parameters
    ----------
    request : what was asked; None when nothing was.
    content : the reply as the app handed it over.
    """
    try:
        expect(request is not None, "not_asked", CODES["not_asked"])
        expect(exchange in CATALOGUE, "unknown_exchange", CODES["unknown_exchange"])
        reply, canonical = _decoded(content)
        _check_kind(exchange, reply)
        conform(reply, type(reply), type(reply).__name__)
        _check_codes(reply, context)
        if not isinstance(reply, REPLIES_IN_PLACE):
            CHECKS[exchange](request, reply, context)
            own = answers(request, reply, context.site)
            expect(own, "other_question", CODES["other_question"])
    except StoppedError as stop:
        return Verdict(stop.code, stop.what)
    except Exception as error:  # what the gate cannot judge does not leave
        return Verdict("gate_failed", f"{type(error).__name__}: {error}")
    return Verdict("", "", canonical)


def _decoded(content: RecordDict) -> tuple[Any, RecordDict]:
    try:
        reply = decode(content)
        canonical = encode(reply)
    except Exception as error:
        raise StoppedError(
            "undecodable", f"{CODES['undecodable']}: {type(error).__name__}"
        ) from None
    expect(same_record(content, canonical), "extra_content", CODES["extra_content"])
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


def _check_kind(exchange: str, reply: Any) -> None:
    allowed = (CATALOGUE[exchange].reply, *REPLIES_IN_PLACE)
    expect(type(reply) in allowed, "wrong_reply", CODES["wrong_reply"])


def _check_codes(reply: Any, context: GateContext) -> None:
    if isinstance(reply, REPLIES_IN_PLACE):
        expect(reply.site in ("", context.site), "other_question", CODES["other_question"])
    if isinstance(reply, Problem):
        expect(is_code(reply), "text", "a problem of an unknown kind")
    exact = are_refusals(reply, context.study, context.privacy, context.site)
    expect(exact, "text", "a refusal that is not one of the rules'")


CHECKS: dict[str, Callable[[Any, Any, GateContext], None]] = {
    "query.enrol": enrol,
    "query.key": key,
    "query.agree": nothing_more,
    "query.follow": nothing_more,
    "query.sum": check_sums,
    "train.network": train,
    "query.rows": rows,
    "evaluate.handout": evaluate,
}
