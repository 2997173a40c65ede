"""Steps that never see a label, against the pooled rows: z-score, Spearman, ICC, components."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from client.workspace import Workspace
from common.statistics.base import Float, Int, Rows
from common.study.model import Study
from common.transforms import Project, Select, Standardise
from common.transforms.views import View, materialise, table
from server.phases.batching import run_together
from server.phases.components import principal_components
from server.phases.harmonise import covariate_columns, harmonise
from server.phases.rank_cells import MOST_TIED
from server.phases.spearman import spearman_filter
from server.phases.standardise import standardise
from sim.equality import references
from sim.equality.findings import Bound, Findings, at_least, at_most
from sim.equality.sites import PooledTables, WatchedFederation, pooled_rows

JACCARD = {64: 0.98, 256: 0.98}
STEP = "steps"


def raw_view(federation: WatchedFederation) -> View:
    """Return the view of the radiomics table that the model starts from."""
    return table("radiomics").then(Select(columns=federation.columns("radiomics")))


def compare_standardise(
    findings: Findings, federation: WatchedFederation, pooled: Rows
) -> tuple[View, Float, tuple[str, ...]]:
    """Compare z-scores; return the federated view, pooled z-scores (n, p) and their columns.

    Columns that do not vary are left out.
    """
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


def compare_harmonise(
    findings: Findings, federation: WatchedFederation, sites: Mapping[str, Workspace], study: Study
) -> None:
    """Compare features that every hospital harmonises for itself with ComBat on the pooled rows.

    Parameters
    ----------
    study : of the federation; its covariates are kept.
    """
    federation.part = "harmonisation"
    raw, tables = raw_view(federation), PooledTables(sites, study)
    (view,), (flat,) = harmonise(federation, [raw])
    pooled = materialise(raw, tables, "train")
    kept = [i for i, name in enumerate(pooled.columns) if name not in flat]
    hospital: Int = np.zeros(0, dtype=np.int64) if pooled.batch is None else pooled.batch
    spreads = [np.ptp(pooled.values[hospital == one], axis=0) for one in np.unique(hospital)]
    values, names = pooled.values[:, kept], study.harmonisation.covariates
    beside = _covariates(tables, study) if names else np.zeros((pooled.n, 0))
    expected = references.combat(values, hospital, beside)
    own = [materialise(view, sites[name].tables, "train").values for name in study.training_sites]
    done = np.abs((np.vstack(own) - expected) / values.std(axis=0))
    kind = f", keeping {', '.join(names)}" if names else ""
    traffic = federation.traffic("harmonisation/")
    step = findings.step(f"ComBat{kind}", "published formulas", traffic)
    step.add(f"values of {len(kept)} columns, in SD", done.max(), at_most(1e-6))
    varying = int((np.max(spreads, axis=0) > 0).sum())
    step.add("constant within hospitals, found", abs(varying - len(kept)), at_most(0))


def _covariates(tables: PooledTables, study: Study) -> Float:
    """Return covariates (n, q) filled with the mean, as z-scores that guarded mode limits."""
    columns = covariate_columns(study)
    rows = materialise(table("clinical").then(Select(columns=columns)), tables, "train").values
    mean = np.nanmean(rows, axis=0)
    z = (np.where(np.isnan(rows), mean, rows) - mean) / np.nanstd(rows, axis=0)
    limit = study.selection.clip if study.privacy.mode == "guarded" else np.inf
    return np.asarray(np.clip(z, -limit, limit))


def compare_ties(
    findings: Findings, left_out: tuple[str, ...], z: Float, names: tuple[str, ...]
) -> set[str]:
    """Compare columns left out for ties in guarded mode with counts of equal pooled values.

    Parameters
    ----------
    left_out : by the federated step.
    z : pooled z-scores (n, p) of the columns `names`.

    Returns
    -------
    The columns left out.
    """
    shares = references.largest_ties(z) / len(z)
    tied = {name for name, share in zip(names, shares, strict=True) if share > MOST_TIED}
    least = min((shares[names.index(name)] for name in left_out), default=1.0)
    step = findings.step("ties", "numpy unique", (0, 0.0))
    step.add(
        f"columns of {len(tied)} with ties that are kept", len(tied - set(left_out)), at_most(0)
    )
    # a cell can hold a few rows beside those with its most frequent value
    step.add("least share of ties left out", float(least), at_least(0.5 * MOST_TIED))
    return set(left_out)


def compare_spearman(
    findings: Findings,
    kept: tuple[str, ...],
    exact: tuple[Float, tuple[str, ...]],
    study: Study,
    traffic: tuple[int, float],
) -> None:
    """Compare columns kept by the federated filter with the filter on exact pooled correlations.

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
    """Run the filter again, over a federation of a study with other cells."""
    federation.part = STEP
    (view,), _ = standardise(federation, [raw_view(federation)])
    guarded = federation.study.privacy.mode == "guarded"
    procedure = spearman_filter(federation.study, [view], drop_tied=guarded)
    ((filtered,),) = run_together(federation, procedure)
    traffic = federation.traffic(f"{STEP}/Spearman")
    compare_spearman(findings, filtered.names, exact, federation.study, traffic)


def compare_icc(
    findings: Findings,
    federation: WatchedFederation,
    sites: Mapping[str, Workspace],
    candidates: tuple[str, ...],
    kept: tuple[str, ...],
) -> None:
    """Compare the columns found reliable, among those that the filter before left.

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


def compare_scores(findings: Findings, z: Float, scored: Float, traffic: tuple[int, float]) -> None:
    """Compare normal scores of guarded mode with those of the exact pooled ranks.

    Parameters
    ----------
    z : pooled z-scores (n, p).
    scored : result of the federated step (n, p).
    """
    exact = references.normal_scores(z)
    likeness = [
        float(np.corrcoef(own, best)[0, 1]) for own, best in zip(scored.T, exact.T, strict=True)
    ]
    step = findings.step(f"normal scores, {z.shape[1]}", "scipy rankdata", traffic)
    step.add("correlation, least of all columns", min(likeness), at_least(0.95))
    step.add("correlation, median column", float(np.median(likeness)), at_least(0.995))


def compare_components(
    findings: Findings, federation: WatchedFederation, tables: PooledTables
) -> None:
    """Compare principal components of all columns, as normal scores in guarded mode."""
    federation.part = "components"
    (projected,) = principal_components(federation, [raw_view(federation)], "radiomics")
    axes = next(step for step in projected.transforms if isinstance(step, Project)).axes
    taken = View(source=projected.source, transforms=projected.transforms[:-1])
    values = materialise(taken, tables, "train").values
    exact = references.principal_axes(values, federation.study.selection.pca_components)
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
