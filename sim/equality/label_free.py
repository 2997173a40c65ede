"""Steps that never see a label, against the pooled rows: z-score, Spearman, ICC, components."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from client.workspace import Workspace
from common.statistics.base import Float, Rows
from common.study import Study
from common.transforms import Project, Select, Standardise
from common.views import View, table
from server.lockstep import in_lockstep
from server.phases.standardise import principal_components, spearman_filter, standardise
from sim.equality import references
from sim.equality.findings import Bound, Findings, at_least, at_most
from sim.equality.sites import WatchedFederation, pooled_rows

JACCARD = {64: 0.98, 256: 0.99}
STEP = "steps"


def raw_view(federation: WatchedFederation) -> View:
    """The radiomics table as the arm starts from it."""
    return table("radiomics").then(Select(columns=federation.columns("radiomics")))


def compare_standardise(
    findings: Findings, federation: WatchedFederation, pooled: Rows
) -> tuple[View, Float, tuple[str, ...]]:
    """z-score; the federated view, and pooled z-scores (n, p) and names of the varying columns."""
    federation.part = STEP
    (view,), (constant,) = standardise(federation, [raw_view(federation)])
    varies = np.ptp(pooled.values, axis=0) > 0
    flat = {name for name, good in zip(pooled.columns, varies, strict=True) if not good}
    z, scaler = references.standardised(pooled.values[:, varies])
    names = tuple(name for name, good in zip(pooled.columns, varies, strict=True) if good)
    fitted = next(step for step in view.transforms if isinstance(step, Standardise))
    at = [names.index(name) for name in fitted.columns if name in names]
    own = [i for i, name in enumerate(fitted.columns) if name in names]
    ratio = fitted.scale[own] / scaler.scale_[at] - 1.0
    shift = (fitted.mean[own] - scaler.mean_[at]) / scaler.scale_[at]
    step = findings.step("z-score", "StandardScaler", federation.traffic(f"{STEP}/z-score"))
    step.add("SD, relative", np.abs(ratio).max(), at_most(1e-9))
    step.add("mean, in SD", np.abs(shift).max(), at_most(1e-9))
    step.add("constant columns found", len(flat ^ set(constant)), at_most(0))
    return view, z, names


def compare_spearman(
    findings: Findings,
    kept: tuple[str, ...],
    exact: tuple[Float, tuple[str, ...]],
    study: Study,
    traffic: tuple[int, float],
) -> None:
    """Columns kept by the federated filter, against the filter on exact pooled correlations.

    Parameters
    ----------
    exact : pooled correlations, and names of their columns.
    """
    correlation, names = exact
    settings = study.selection
    reference = references.forward_filter(correlation, names, settings.spearman_threshold)
    both, either = set(kept) & set(reference), set(kept) | set(reference)
    step = findings.step(f"Spearman, B = {settings.spearman_bins}", "scipy spearmanr", traffic)
    step.add(
        f"Jaccard, {len(kept)} and {len(reference)} of {len(names)} kept",
        len(both) / len(either),
        at_least(JACCARD[settings.spearman_bins]),
    )


def compare_finer_spearman(
    findings: Findings, federation: WatchedFederation, exact: tuple[Float, tuple[str, ...]]
) -> None:
    """The filter again, over a federation of a study with other cells."""
    federation.part = STEP
    (view,), _ = standardise(federation, [raw_view(federation)])
    ((filtered,),) = in_lockstep(federation, spearman_filter(federation.study, [view]))
    traffic = federation.traffic(f"{STEP}/Spearman")
    compare_spearman(findings, filtered.names, exact, federation.study, traffic)


def compare_icc(
    findings: Findings,
    federation: WatchedFederation,
    sites: Mapping[str, Workspace],
    candidates: tuple[str, ...],
    kept: tuple[str, ...],
) -> None:
    """Columns that the radiomics arm found reliable, among those the filter before left.

    The pooled decision is taken on raw values of all patients read twice.
    """
    study = federation.study
    reading = {
        name: pooled_rows(sites, study, name, "train")
        for name in ("radiomics", "radiomics:r1_repeat", "radiomics:r2", "radiomics:r2_repeat")
    }
    columns = reading["radiomics"].columns
    good = np.ones(len(columns), dtype=np.bool_)
    largest = 0.0
    for item, result in federation.outcomes_of("PairedMoments"):
        first, second = item.view.source.first.name, item.view.source.second.name
        agreement, consistency = references.intraclass(
            reading[first].values, reading[second].values
        )
        between_readers = first == "radiomics" and second == "radiomics:r2"
        exact = agreement if between_readers else consistency
        own = result.agreement if between_readers else result.consistency
        good &= exact > study.selection.icc_threshold
        at = [columns.index(name) for name in item.view.outputs()]
        largest = max(largest, float(np.nanmax(np.abs(own - exact[at]))))
    pooled = {name for name, reliable in zip(columns, good, strict=True) if reliable}
    flipped = (pooled & set(candidates)) ^ set(kept)
    step = findings.step("ICC", "numpy ANOVA", federation.traffic("radiomics/ICC"))
    step.add(f"decisions flipped of {len(candidates)}", len(flipped), at_most(0))
    step.add("coefficient", largest)


def compare_components(
    findings: Findings, federation: WatchedFederation, view: View, z: Float
) -> None:
    """Principal components of all z-scored columns.

    Parameters
    ----------
    z : pooled z-scores (n, p), clipped in guarded mode.
    """
    federation.part = "components"
    (projected,) = principal_components(federation, [view], "radiomics")
    axes = next(step for step in projected.transforms if isinstance(step, Project)).axes
    exact = references.principal_axes(z, federation.study.selection.pca_components)
    step = findings.step(
        f"PCA, {exact.shape[1]} components", "sklearn PCA", federation.traffic("components/")
    )
    if axes.shape != exact.shape:
        step.add("components that one side lacks", axes.shape[1] - exact.shape[1], at_most(0))
        return
    cosines = np.linalg.svd(axes.T @ exact, compute_uv=False)
    signs = np.sum(axes * exact, axis=0)
    step.add("cosine of the subspaces", cosines.min(), Bound(">", 0.999999))
    step.add("axes of another sign", int((signs <= 0).sum()), at_most(0))
    step.add("cosine of single axes", np.abs(signs).min())
