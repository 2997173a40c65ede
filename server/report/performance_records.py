"""Records of results.json on how well models predict."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from common.models import ModelName
from server.report.record import Count, Finite, MaybeCount, Number, Record, RunName, Share

# the last is of a time to event
AucMethod = Literal["", "score", "logit"]


class Stratum(Record):
    """AUC within one level of a clinical column; null = too few patients, `note` says so."""

    run: RunName
    set: str
    model: ModelName
    variable: str
    level: str
    n: MaybeCount = None
    positives: MaybeCount = None
    auc: Share = None
    ci_low: Share = None
    ci_high: Share = None
    ci_method: AucMethod = ""
    note: str = ""


class StratumTest(Record):
    """Test of a difference of a model's AUC between the levels of a column that have one.

    Cochran's Q over `levels` levels, chi-square with one degree of freedom fewer; of two levels it
    is the square of the z of two independent areas. Null = not tested, `note` says why.
    """

    run: RunName
    set: str
    model: ModelName
    variable: str
    levels: Count
    statistic: Number = None
    p: Share = None
    p_holm: Share = None
    note: str = ""


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole


def _sum(left: int | None, right: int | None) -> int:
    return (left or 0) + (right or 0)


class Performance(Record):
    """One model of one run on one set; on `train` the predictions are out-of-fold.

    `ci_low`, `ci_high` are of the method in `ci_method`; `se`, `wald_low`, `wald_high` DeLong's.
    `auc_within` is the AUC of pairs of patients of the same hospital.
    `average_precision` is the area under the precision-recall curve.
    `correct`, `tp`, `tn` count patients at the frozen cut-off; `method` says how the AUC was made.
    Counts that a disclosure rule withholds are null. `apparent_auc`, on `train`, is the final
    model's on the patients it was fitted on.
    """

    run: RunName
    model: ModelName
    set: str
    n: MaybeCount
    positives: MaybeCount = None
    auc: Share = None
    ci_low: Share = None
    ci_high: Share = None
    ci_method: AucMethod = ""
    se: Number = None
    wald_low: Share = None
    wald_high: Share = None
    auc_within: Share = None
    within_low: Share = None
    within_high: Share = None
    average_precision: Share = None
    ap_low: Share = None
    ap_high: Share = None
    cutoff: Number = None
    correct: MaybeCount = None
    tp: MaybeCount = None
    tn: MaybeCount = None
    method: str = ""
    apparent_auc: Share = None

    @property
    def negatives(self) -> int | None:
        """Patients without the endpoint."""
        if self.n is None or self.positives is None:
            return None
        return self.n - self.positives

    @property
    def accuracy(self) -> float | None:
        """Share of all patients judged correctly."""
        return _share(self.correct, self.n)

    @property
    def sensitivity(self) -> float | None:
        """Share of the positives judged positive."""
        return _share(self.tp, self.positives)

    @property
    def specificity(self) -> float | None:
        """Share of the negatives judged negative."""
        return _share(self.tn, self.negatives)

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        if self.negatives is not None and self.negatives < 0:
            raise ValueError("more positives than patients")
        for count, limit, name in (
            (self.correct, self.n, "correct"),
            (self.tp, self.positives, "tp"),
            (self.tn, self.negatives, "tn"),
        ):
            if count is not None and limit is not None and count > limit:
                raise ValueError(f"{name} = {count} is more than the {limit} patients there are")
        if None not in (self.correct, self.tp, self.tn) and self.correct != _sum(self.tp, self.tn):
            raise ValueError("correct is not tp + tn")
        return self


class SitePerformance(Record):
    """One model on the part of a test set that one site holds; `method` says how it was made.

    `se` is DeLong's standard error of the AUC; `horizon` that of the area, of a time to event.
    """

    run: RunName
    set: str
    site: str
    model: ModelName
    n: Count
    positives: Count
    auc: Share = None
    se: Number = None
    ci_low: Share = None
    ci_high: Share = None
    ci_method: AucMethod = ""
    method: str = ""
    horizon: Number = None


class LeaveOneOut(Record):
    """One model of the other training hospitals, on all patients of the hospital left out.

    `se` is DeLong's standard error of the AUC, `large` the calibration in the large; estimates have
    the ends of their 95 % intervals.
    """

    site: str
    model: ModelName
    n: Count
    positives: Count
    auc: Share = None
    se: Number = None
    ci_low: Share = None
    ci_high: Share = None
    ci_method: AucMethod = ""
    large: Number = None
    large_low: Number = None
    large_high: Number = None
    slope: Number = None
    slope_low: Number = None
    slope_high: Number = None


class DeLong(Record):
    """Paired comparison of two AUCs on the same patients; two-sided P.

    `difference` is that of a minus b with its 95 % interval. `role` says if it is the one that the
    study declared; `p_holm` is corrected for the number of the exploratory ones of the run. These
    are empty in files of the first releases.
    """

    run: RunName
    set: str
    model_a: ModelName
    model_b: ModelName
    z: Number = None
    p: Share = None
    difference: Number = None
    difference_low: Number = None
    difference_high: Number = None
    role: Literal["primary", "exploratory"] = "exploratory"
    p_holm: Share = None


class Roc(Record):
    """Points of an ROC curve, from (0, 0) to (1, 1)."""

    ALIKE = ("fpr", "tpr")

    run: RunName
    set: str
    model: ModelName
    fpr: tuple[Finite, ...]
    tpr: tuple[Finite, ...]


class CalibrationBin(Record):
    """Patients whose predicted probability falls in one bin; null = withheld."""

    n: MaybeCount = None
    mean_predicted: Share = None
    observed: Share = None


class FlexibleCurve(Record):
    """Observed risk at predicted ones by a restricted cubic spline, with a pointwise 95 % band."""

    ALIKE = ("predicted", "observed", "low", "high")

    predicted: tuple[Finite, ...]
    observed: tuple[Finite, ...]
    low: tuple[Finite, ...]
    high: tuple[Finite, ...]


class Calibration(Record):
    """Predicted against observed risk, and the Brier score; `curve` is null where there is none."""

    run: RunName
    set: str
    model: ModelName
    bins: tuple[CalibrationBin, ...]
    brier: Number = None
    curve: FlexibleCurve | None = None


class CalibrationFit(Record):
    """Calibration of one model on a set, at one hospital of it, or in one level of a column.

    `oe` is the observed number over the expected one, `large` the calibration in the large (the
    intercept where the slope is 1); each with the ends of its 95 % interval. Null = does not exist
    or is withheld; `note` says so.
    """

    run: RunName
    set: str
    model: ModelName
    site: str = ""
    variable: str = ""
    level: str = ""
    n: MaybeCount = None
    positives: MaybeCount = None
    expected: Number = None
    oe: Number = None
    oe_low: Number = None
    oe_high: Number = None
    large: Number = None
    large_low: Number = None
    large_high: Number = None
    intercept: Number = None
    intercept_low: Number = None
    intercept_high: Number = None
    slope: Number = None
    slope_low: Number = None
    slope_high: Number = None
    note: str = ""


class Recalibration(Record):
    """Brier score and net benefit at the cut-off, as they are or after recalibration to the set."""

    run: RunName
    set: str
    model: ModelName
    way: Literal["none", "large", "logistic"]
    intercept: Finite
    slope: Finite
    brier: Number = None
    net_benefit: Number = None


class DecisionCurve(Record):
    """Net benefit of acting on the model, and of treating everybody, at each threshold.

    `low` and `high` are the ends of its 95 % interval at each; empty in files of the first
    releases.
    """

    ALIKE = ("thresholds", "net_benefit", "treat_all")
    OR_EMPTY = ("low", "high")

    run: RunName
    set: str
    model: ModelName
    thresholds: tuple[Finite, ...]
    net_benefit: tuple[Number, ...]
    treat_all: tuple[Number, ...]
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
