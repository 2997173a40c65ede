"""Handlers of the exchanges: compute, check the disclosure rules, reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from client.check.disclosure import foretold
from client.data.tables import keep_selected
from client.site import LOG
from client.store.audits import audit_canaries, audit_releases
from client.store.batches import keep_batches
from client.store.cohorts import fix_levels
from client.store.departures import consent_to
from client.store.levels import moved_levels
from client.store.run_files import StoredTable
from client.workspace import Workspace
from common.bundle.bundle import Bundle, check_files, digest_of
from common.disclosure.forms import FormError, check_models, check_out_of_fold
from common.disclosure.membership import audited_models, fewest_audited
from common.disclosure.pooled_rows import (
    check_fitting,
    check_out_of_fold_rows,
    check_places,
    check_pooling,
    check_unique_rows,
)
from common.disclosure.rounds import check_drawn, check_plan
from common.disclosure.rule import TRAIN, once, refusal
from common.disclosure.scores import check_test_set
from common.disclosure.sums import check_sum
from common.disclosure.training import check_masking, check_weights
from common.evaluation.calibration_fit import CalibrationFit, fit_grouped
from common.evaluation.follow_up_findings import FollowUpFindings, measure_locally
from common.evaluation.joined_scores import joined_areas
from common.evaluation.level_areas import LevelAreas, areas_by_level
from common.evaluation.linkage import cell_edges, known_columns, row_cells, unique_patients
from common.evaluation.local import Evaluation, evaluate_locally
from common.evaluation.membership import MembershipAudit, membership_audit
from common.ledger.entry import request_digest
from common.masking.layout import RingSums, end_to_end, to_rings
from common.masking.narrow import pack
from common.masking.pooled_rows import permutation, slots, to_slots
from common.masking.update import to_update_rings
from common.messages.exchanges import (
    DEVICE,
    AgreeReply,
    AgreeRequest,
    EnrolReply,
    EnrolRequest,
    EvaluateReply,
    EvaluateRequest,
    FollowReply,
    FollowRequest,
    KeyReply,
    KeyRequest,
    Refusal,
    Refused,
    RowsReply,
    RowsRequest,
    SumItem,
    SumReply,
    SumRequest,
    TrainReply,
    TrainRequest,
)
from common.messages.opening import Bytes, OpenReply, OpenRequest, SignReply, SignRequest
from common.models import network_name
from common.statistics.base import Float, Int, Rows, describe
from common.statistics.dealt_folds import DealtFolds
from common.statistics.placements import DeLongResult
from common.study.strata import TABLE, level_codes, level_names, strata_columns
from common.study.sums import subsets_of
from common.transforms.views import Joined, View, materialise
from common.utils.versions import software

# kinds of sums of Table 1, which hold nothing of a fold
BEFORE_FOLDS = {"rows", "cells", "rank_histogram", "quartiles"}


def enrol(workspace: Workspace, request: EnrolRequest) -> EnrolReply | Refused:
    """Report who takes part, or all that this site would refuse of the study, in one answer."""
    study, cohort = workspace.study, workspace.cohort
    counts: dict[str, tuple[int, int]] = {}
    for subset in subsets_of(study, workspace.name):
        patients = cohort.subset(study, subset)
        counts[subset] = (len(patients), sum(p.label for p in patients))
    foreseen = foretold(cohort, study, workspace.privacy)
    earlier = workspace.releases.refusals("query.enrol", request)
    if foreseen.stops or earlier:
        return Refused(refusals=once((*foreseen.stops, *earlier)), withheld=foreseen.withheld)
    readings = {r for p in cohort.subset(study, "train") for r in p.masks} - {"r1"}
    columns = {"clinical": workspace.tables.read("clinical", "train").columns}
    if workspace.images is not None and workspace.images.has_features:
        columns["radiomics"] = workspace.tables.read("radiomics", "train").columns
    workspace.fingerprint.remember()
    reply = EnrolReply(
        site=workspace.name,
        **request.echo,
        software=software() | device_in_words(workspace),
        counts=counts,
        columns=columns,
        readings=tuple(sorted(readings)),
        excluded=workspace.excluded,
        key=workspace.masks.announce(request.session),
        withheld=foreseen.withheld,
        verifies=workspace.settings.verify and study.derivable,
        consent=consent_to(workspace.settings.work, study.digest()),
    )
    workspace.group.enrolled(reply)
    return reply


def share_key(workspace: Workspace, request: KeyRequest) -> KeyReply:
    """Contribute to the key that the sites of this run share, having heard of all of them."""
    sealed = workspace.group.contribute(request)
    return KeyReply(site=workspace.name, **request.echo, sealed=sealed)


def agree(workspace: Workspace, request: AgreeRequest) -> AgreeReply:
    """Take the other sites' contributions to the key."""
    workspace.group.agree(request)
    return AgreeReply(site=workspace.name, **request.echo)


def device_in_words(workspace: Workspace) -> dict[str, str]:
    """Return the device for the study's networks; the site's own screen names the card."""
    if not workspace.study.networks:
        return {}
    from client.training.inference import compute_of

    compute = compute_of(workspace)
    LOG.info("site %s: networks run on %s", workspace.name, compute.words())
    return {DEVICE: "GPU" if compute.on_gpu else "CPU"}


def follow(workspace: Workspace, request: FollowRequest) -> FollowReply:
    """Say that the gate has heard of the answers so far; nothing is computed."""
    return FollowReply(site=workspace.name, **request.echo)


def answer_sums(workspace: Workspace, request: SumRequest) -> SumReply | Refused:
    """Return all sums of one round, each checked against its rule first, then masked."""
    study = workspace.study
    found: list[RingSums] = []
    refusals: list[Refusal] = []
    _settle_folds(workspace, request.items)
    for item in request.items:
        rows = materialise(item.view, workspace.tables, item.subset)
        privacy, before = workspace.privacy, len(refusals)
        refusals.extend(check_sum(item.statistic, rows, item.subset, study, privacy, item.view))
        refusals.extend(check_masking(study, privacy, (item.subset,)))
        if item.subset in study.too_few_to_mask():
            refusals.append(refusal("sites", privacy, item.subset))
        if len(refusals) > before:
            continue
        LOG.debug("site %s: %s on %d rows", workspace.name, describe(item.statistic), rows.n)
        sites = len(study.members(item.subset))
        found.append(to_rings(item.statistic, item.statistic.from_rows(rows), rows.p, sites))
    if refusals:
        return Refused(refusals=once(refusals))
    fingerprints = workspace.group.of_sums(request, found)
    hidden = end_to_end(
        _hidden(workspace, request, item, rings)
        for item, rings in zip(request.items, found, strict=True)
    )
    return SumReply(
        site=workspace.name,
        **request.echo,
        ring64=hidden.ring64,
        ring32=hidden.ring32,
        fingerprints=fingerprints,
    )


def _settle_folds(workspace: Workspace, items: Sequence[SumItem]) -> None:
    """Deal the folds where this is asked, or keep them before the first sum by fold."""
    for item in items:
        if isinstance(item.statistic, DealtFolds):
            rows = materialise(item.view, workspace.tables, TRAIN)
            if not item.statistic.exceeded_by(rows):  # the rule `dealing` refuses these
                workspace.deal(item.statistic.totals)
        elif item.subset == TRAIN and item.statistic.kind not in BEFORE_FOLDS:
            workspace.settle_folds()


def _hidden(workspace: Workspace, request: SumRequest, item: SumItem, rings: RingSums) -> RingSums:
    hide = partial(
        workspace.masks.hide,
        subset=item.subset,
        keys=request.keys,
        exchange=f"{request.session}/{request.number}",
        digest=_asked_of(workspace, item),
    )
    return RingSums(hide(rings.ring64, item="ring64"), hide(rings.ring32, item="ring32"))


def _asked_of(workspace: Workspace, item: SumItem) -> str:
    """Return the digest of a masked sum, with those of the models that made the tables it reads.

    Masks of sites that were given different models do not cancel. Otherwise a coordinator that
    gives all sites but one a model that tells nothing would read this site's numbers in the total.
    """
    if not workspace.study.masked(item.subset):
        return item.digest
    return request_digest(item.digest, *workspace.tables.made_by(item.view, item.subset))


def train(workspace: Workspace, request: TrainRequest) -> TrainReply | Refused:
    """Train a network locally from the weights sent, or evaluate its loss and keep its features."""
    study = workspace.study
    workspace.settle_folds()
    rows = workspace.tables.read("coded", "train")
    plan = request.plan
    out = (plan.excluded_fold, plan.validation_fold)
    refusals = list(check_weights(rows, out, plan.total, study, workspace.privacy))
    refusals.extend(check_masking(study, workspace.privacy, ("train",)))
    if "train" in study.too_few_to_mask():
        refusals.append(refusal("sites", workspace.privacy, "train"))
    refused = once(refusals) or _another_round(workspace, request)
    if refused:
        return Refused(refusals=refused)
    from client.training.reply import object_to
    from client.training.round import train_network

    update = workspace.updates.update(request, lambda: train_network(workspace, request))
    if plan.invited:
        from client.training.reply import answer_step

        return answer_step(workspace, request, update)
    sites = len(workspace.study.training_sites)
    rings = to_update_rings(update, request.running, sites, request.plan.grid)
    vectors = (rings.parameters, rings.narrow, rings.statistics)
    fingerprints = workspace.group.of_update(request, vectors)
    hide = partial(
        workspace.masks.hide,
        subset="train",
        keys=request.keys,
        exchange=f"{request.session}/{request.number}",
        digest=request.digest,
    )
    return TrainReply(
        site=workspace.name,
        **request.echo,
        parameters=hide(rings.parameters, item="parameters"),
        narrow=pack(hide(rings.narrow, item="narrow"), plan.grid.width),
        epsilon=workspace.releases.epsilon(),
        objection=object_to(workspace, request, update),
        statistics=hide(rings.statistics, item="statistics"),
        fingerprints=fingerprints,
    )


def sign(workspace: Workspace, request: SignRequest) -> SignReply:
    """Sign whose updates the sum of a round holds."""
    signature = workspace.openings.sign(request.opening, workspace.privacy)
    return SignReply(site=workspace.name, **request.echo, signature=_array(signature))


def open_sum(workspace: Workspace, request: OpenRequest) -> OpenReply:
    """Reveal the masks that are left in a sum, once all sites in it have signed it."""
    keys = workspace.openings.reveal(request.opening, request.signatures, workspace.privacy)
    pairs = {site: _array(key) for site, key in keys.pairs.items()}
    return OpenReply(site=workspace.name, **request.echo, own=_array(keys.own), pairs=pairs)


def _array(data: bytes) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)


def _another_round(workspace: Workspace, request: TrainRequest) -> tuple[Refusal, ...]:
    """Refuse a round that the study has not, that draws few patients, or was asked otherwise."""
    study, privacy, plan = workspace.study, workspace.privacy, request.plan
    out = (plan.excluded_fold, plan.validation_fold)
    found = check_plan(request.network, request.variant, plan, study, privacy)
    found = found or workspace.openings.refusals(request, privacy)
    if plan.epochs and not found:
        rows = workspace.tables.read("coded", "train")
        found = check_drawn(rows, out, network_name(request.network), study, privacy)
    return found or workspace.updates.reserve(request, privacy)


def rows(workspace: Workspace, request: RowsRequest) -> RowsReply | Refused:
    """Return the only row-level data, out-of-fold probabilities, in a sum that names no site."""
    study = workspace.study
    workspace.settle_folds()
    try:
        check_out_of_fold(request.columns, study)
    except FormError as error:
        return Refused(refusals=(refusal("form", workspace.privacy, "train", str(error)),))
    view = View(source=Joined(parts=tuple(request.columns.values())))
    table = materialise(view, workspace.tables, "train")
    cells = row_cells(table.values, cell_edges(study.fusion.row_decimals))
    known = cells[:, [list(request.columns).index(name) for name in known_columns(request.columns)]]
    refusals = (
        *check_out_of_fold_rows(table, workspace.privacy),
        *check_pooling(study, workspace.privacy),
        *check_places(workspace.name, table.n, request.counts, study, workspace.privacy),
        *check_masking(study, workspace.privacy, ("train",)),
        *check_fitting(known, request.fitting, request.counts, study, workspace.privacy),
    ) or _check_linkage(workspace, request, known)
    if refusals:
        return Refused(refusals=refusals)
    masks, context = workspace.masks, bytes.fromhex(request.digest)
    own = slots(workspace.group.slot_key(request.keys, context), context, request.counts)[
        workspace.name
    ]
    places = own[permutation(masks.own_secret(request.keys, context), table.n)]
    total = sum(request.counts.values())
    ring = to_slots(cells, table.label, places, total, study.fusion.row_decimals)
    hidden = masks.hide(
        ring,
        subset="train",
        keys=request.keys,
        exchange="rows",
        digest=request.digest,
        item="ring32",
    )
    return RowsReply(site=workspace.name, **request.echo, ring32=hidden)


def _check_linkage(workspace: Workspace, request: RowsRequest, known: Int) -> tuple[Refusal, ...]:
    """Measure how many patients have exactly one fitting row; show it, keep it, refuse too many."""
    unique, n = unique_patients(known, request.fitting), len(known)
    LOG.info(
        "site %s: to somebody who knows their clinical values %d of %d patients have exactly one"
        " fitting row among the out-of-fold rows of all sites",
        *(workspace.name, unique, n),
    )
    workspace.draft.fix("unique rows", request.digest, str(unique))
    return check_unique_rows(unique, n, workspace.privacy)


def evaluate(workspace: Workspace, request: EvaluateRequest) -> EvaluateReply | Refused:
    """Score the site's own test patients with the final bundle; scores stay at the site.

    The reply holds all measures of a set at this site alone, and areas of its part of another.
    """
    study, privacy = workspace.study, workspace.privacy
    if study.coordinator_key:
        check_files(request.bundle, study.coordinator_key)
    bundle = Bundle.from_files(request.bundle)
    try:
        check_models(bundle.models, study)
    except FormError as error:
        return Refused(refusals=(refusal("form", privacy, "", str(error)),))
    folder, scanners = workspace.run_tables.folder, workspace.tables.scanners
    keep_batches(folder, workspace.tables, scanners, bundle.models, digest_of(request.bundle))
    cutoffs = np.array([bundle.cutoffs[name] for name in bundle.models])
    counts: dict[str, tuple[int, int]] = {}
    evaluations: dict[str, Evaluation] = {}
    parts: dict[str, DeLongResult] = {}
    fits: dict[str, CalibrationFit] = {}
    strata: dict[str, dict[str, LevelAreas]] = {}
    followed: dict[str, FollowUpFindings] = {}
    withheld: list[Refusal] = []
    tested: list[Rows] = []
    for subset in request.test_sets:
        rows = _score(workspace, bundle, subset, request_digest(request.bundle))
        counts[subset] = (rows.n, int(rows.label.sum()))
        refusals = (
            *check_test_set(rows, subset, privacy),
            *_fix_levels(workspace, subset, request.cuts),
        )
        withheld.extend(refusals)
        if refusals:
            continue
        if study.follow_up is not None:
            if not study.masked(subset):  # else measured from sums alone
                followed[subset] = _followed(rows, subset, cutoffs, request.edges, workspace)
            continue
        tested.append(rows)
        if len(study.test_set(subset).sites) == 1:
            evaluations[subset] = evaluate_locally(rows, cutoffs, request.edges, privacy.min_cell)
            strata[subset] = _by_level(workspace, rows, subset, request)
        else:
            parts[subset] = joined_areas(rows.values, rows.label, privacy.min_cell)
            fits[subset] = fit_grouped(rows, request.edges, privacy.min_cell)
    return EvaluateReply(
        site=workspace.name,
        **request.echo,
        counts=counts,
        evaluations=evaluations,
        parts=parts,
        fits=fits,
        followed=followed,
        withheld=once(withheld),
        strata=strata,
        membership=_membership(workspace, bundle, tested),
        releases=audit_releases(workspace, strata),
        canaries=audit_canaries(workspace),
    )


def _followed(
    rows: Rows, subset: str, cutoffs: Float, edges: Float, workspace: Workspace
) -> FollowUpFindings:
    """Measure a time to event on own patients, of whom no other hospital hides single ones."""
    grid, minimum = workspace.study.time_grid, workspace.privacy.min_cell
    last = np.array(grid.last_periods, dtype=np.int64)
    return measure_locally(rows, subset, cutoffs, edges, last, grid.periods, minimum)


def _membership(
    workspace: Workspace, bundle: Bundle, tested: Sequence[Rows]
) -> MembershipAudit | None:
    """Attack the final models with all own training and test patients, where these are enough."""
    if workspace.name not in workspace.study.training_sites:
        return None
    names = audited_models(workspace.study, bundle.models)
    own = [list(bundle.models).index(name) for name in names]
    scored = [materialise(bundle.models[name], workspace.tables, "train") for name in names]
    fewest = fewest_audited(workspace.privacy)
    if scored[0].n < fewest or sum(rows.n for rows in tested) < fewest:
        return None
    return membership_audit(
        np.hstack([rows.values for rows in scored]),
        scored[0].label,
        np.vstack([rows.values[:, own] for rows in tested]),
        np.concatenate([rows.label for rows in tested]),
    )


def _score(workspace: Workspace, bundle: Bundle, subset: str, made_by: str) -> Rows:
    """Score a test set with every model of the bundle, and keep it as the table `scores`."""
    if bundle.networks:
        from client.training.inference import score_networks

        score_networks(workspace, bundle, subset, made_by)
    scored = [materialise(view, workspace.tables, subset) for view in bundle.models.values()]
    patients = [p.patient_id for p in workspace.cohort.subset(workspace.study, subset)]
    values = np.hstack([rows.values for rows in scored])
    table = StoredTable(tuple(patients), tuple(bundle.models), values, made_by)
    workspace.run_tables.write("scores", subset, table)
    keep_selected(
        workspace.run_tables,
        workspace.tables,
        workspace.study,
        bundle.models,
        subset,
        tuple(patients),
        made_by,
    )
    return workspace.tables.read("scores", subset)


def _fix_levels(
    workspace: Workspace, subset: str, cuts: Mapping[str, float]
) -> tuple[Refusal, ...]:
    """Keep the level of every test patient as the table `strata`; it never changes."""
    study, tables = workspace.study, workspace.tables
    if not study.strata:
        return ()
    codes = level_codes(study, tables.read("coded", subset).values, cuts)
    patients = tuple(p.patient_id for p in workspace.cohort.subset(study, subset))
    if not fix_levels(workspace.draft, study.digest(), patients, codes):
        return (refusal("levels", workspace.privacy, subset, "other levels than before"),)
    levels = StoredTable(patients, study.strata, codes, request_digest(dict(cuts)))
    workspace.run_tables.write(TABLE, subset, levels)
    return ()


def _by_level(
    workspace: Workspace, rows: Rows, subset: str, request: EvaluateRequest
) -> dict[str, LevelAreas]:
    """Return areas and calibration by level and stratum, of a set that this site alone holds.

    All levels of a column are withheld where a few patients had others in an earlier study.
    """
    study, cuts = workspace.study, request.cuts
    codes = level_codes(study, workspace.tables.read("coded", subset).values, cuts)
    patients = [p.patient_id for p in workspace.cohort.subset(study, subset)]
    moved = moved_levels(workspace.draft, patients, study.strata, codes)
    found: dict[str, LevelAreas] = {}
    for position, column in enumerate(strata_columns(study)):
        gone = column.name in moved
        own = np.full(rows.n, np.nan) if gone else codes[:, position]
        levels = len(level_names(column, cuts.get(column.name)))
        one = areas_by_level(rows, own, levels, workspace.privacy, request.edges)
        found[column.name] = replace(one, hidden=np.ones(levels)) if gone else one
    return found
