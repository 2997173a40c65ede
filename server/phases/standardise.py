"""z-scores with the federated mean and deviation, and agreement of repeated readings.

Label-free steps are fitted on all training rows, since they never see a label; whatever sees a
label is fitted inside the folds. All views of a step share its rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from common.dossier.disclosure import Disclosure, sum_disclosure
from common.messages.exchanges import SumItem
from common.statistics.base import Float
from common.statistics.icc import PairedMoments
from common.statistics.moments import CentredSquares, Means
from common.study.model import Study
from common.transforms import Standardise
from common.transforms.views import Paired, Table, View
from server.phases.batching import Procedure
from server.phases.protocol import Federation

Names = tuple[str, ...]
# kind of agreement, tables of the first and the second reading
READINGS = (
    ("intra", "radiomics", "radiomics:r1_repeat"),
    ("intra", "radiomics:r2", "radiomics:r2_repeat"),
    ("inter", "radiomics", "radiomics:r2"),
)


def standardise(federation: Federation, views: Sequence[View]) -> tuple[list[View], list[Names]]:
    """Put every column on z-scores with the federated mean and deviation; two rounds.

    Returns
    -------
    The views with the step laid on, and the constant columns that were dropped from each.
    """
    found = moments(federation, views)
    standardised, dropped = [], []
    for view, (mean, deviation) in zip(views, found, strict=True):
        columns = view.outputs()
        varies = np.isfinite(deviation) & (deviation > 0)
        kept = tuple(name for name, good in zip(columns, varies, strict=True) if good)
        step = Standardise(columns=kept, mean=mean[varies], scale=deviation[varies])
        standardised.append(view.restrict(kept).then(step))
        dropped.append(tuple(name for name in columns if name not in kept))
    return standardised, dropped


def moments(federation: Federation, views: Sequence[View]) -> list[tuple[Float, Float]]:
    """Return mean and deviation of every column of every view; two rounds."""
    means = federation.sum_many([SumItem(Means(), view, "train") for view in views])
    squares = federation.sum_many(
        [
            SumItem(CentredSquares(mean=mean.mean), view, "train")
            for view, mean in zip(views, means, strict=True)
        ]
    )
    return [(m.mean, s.deviation) for m, s in zip(means, squares, strict=True)]


def moments_asks(study: Study, width: int, tables: int) -> tuple[Disclosure, ...]:
    """Declare what `moments` asks for."""
    squares = CentredSquares(mean=np.zeros(width))
    return (
        sum_disclosure(study, Means(), width, tables=tables),
        sum_disclosure(study, squares, width, tables=tables),
    )


def reliable_columns(federation: Federation, view: View) -> Procedure[tuple[Names, str]]:
    """Find columns whose intra- and inter-reader ICC exceed the study's threshold; one round.

    Sites without repeat readings take no part; without any, nothing is filtered, as the note says.
    """
    columns = view.outputs()
    readings = {
        r for site in federation.study.members("train") for r in federation.members[site].readings
    }
    pairs = [
        (kind, first, second)
        for kind, first, second in READINGS
        if all(t == "radiomics" or t.partition(":")[2] in readings for t in (first, second))
    ]
    if not pairs:
        return columns, "no repeat readings at any site: the ICC step was left out"
    results = yield [
        SumItem(
            PairedMoments(mean=np.zeros(len(columns))),
            View(
                source=Paired(first=Table(name=a), second=Table(name=b)), transforms=view.transforms
            ),
            "train",
        )
        for _, a, b in pairs
    ]
    good = np.ones(len(columns), dtype=bool)
    patients = 0
    for (kind, _, _), result in zip(pairs, results, strict=True):
        value = result.agreement if kind == "inter" else result.consistency
        good &= value > federation.study.selection.icc_threshold
        patients = max(patients, int(result.n.max(initial=0)))
    kept = tuple(name for name, keep in zip(columns, good, strict=True) if keep)
    return kept, f"ICC from {len(pairs)} pairs of readings of {patients} patients"


def readings_asks(study: Study, width: int) -> Disclosure:
    """Declare what `reliable_columns` asks for."""
    return sum_disclosure(study, PairedMoments(mean=np.zeros(width)), width, tables=len(READINGS))
