"""Schema 1 of results.json as typed records; `docs/results.md` explains every key."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from common.models import ModelName


def _none_unless_finite(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain_number(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


Number = Annotated[float | None, BeforeValidator(_none_unless_finite)]
Finite = Annotated[float, BeforeValidator(_plain_number), Field(allow_inf_nan=False)]
Share = Annotated[Annotated[float, Field(ge=0, le=1)] | None, BeforeValidator(_none_unless_finite)]
Count = Annotated[int, BeforeValidator(_plain_number), Field(ge=0)]
MaybeCount = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_none_unless_finite)]
RunName = Annotated[str, Field(pattern=r"^(federated|pooled|local:.+|without:.+)$")]


class Record(BaseModel):
    """Base of every record: unknown keys are errors, values never change.

    Lists in `ALIKE` have one length; those in `OR_EMPTY` have the same one, or are all empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    ALIKE: ClassVar[tuple[str, ...]] = ()
    OR_EMPTY: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        given = any(getattr(self, name) for name in self.OR_EMPTY)
        names = (*self.ALIKE, *(self.OR_EMPTY if given else ()))
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ValueError(f"lists must have one length: {found}")
        return self


class ParticipantCount(Record):
    """Patients of one site in one set, and those with the endpoint; null = a small count."""

    n: MaybeCount = None
    positives: MaybeCount = None


class Participant(Record):
    """One site: patients it left out because their data could not be used, and those it enrolled.

    `sets` has "train" and the test sets of which the site holds a part.
    """

    site: str
    trains: bool
    excluded: Count = 0
    sets: dict[str, ParticipantCount] = Field(default_factory=dict)


class SliceCount(Record):
    """Axial slices of all patients of a set together; null = too few patients."""

    set: str
    slices: MaybeCount = None


class LedgerSummary(Record):
    """Entries of a site's own ledger, by kind of message; `bytes` are those released."""

    site: str
    exchange: str
    released: Count = 0
    refused: Count = 0
    stopped: Count = 0
    bytes: Count = 0
    run: RunName = "federated"


StepName = Literal["columns", "components", "constant", "rare", "tied", "spearman", "icc", "lasso"]


class SelectionStep(Record):
    """Features left after a step: the names, or only their number where names say nothing.

    `constant`, `rare` and `tied` are the exceptions: they list the features that were dropped.
    """

    step: StepName
    names: tuple[str, ...] | None = None
    count: Count | None = None

    @property
    def size(self) -> int | None:
        """Number of features left, or dropped."""
        return len(self.names) if self.names is not None else self.count


class CrossValidation(Record):
    """Mean squared error of the LASSO, averaged over the folds, at each penalty.

    `spreads` are standard errors of these means; empty where an earlier release wrote the file.
    """

    ALIKE = ("alphas", "errors")
    OR_EMPTY = ("spreads",)

    alphas: tuple[Finite, ...]
    errors: tuple[Finite, ...]
    spreads: tuple[Finite, ...] = ()


class LassoPath(Record):
    """Coefficient of each feature at each penalty, in standardised units."""

    alphas: tuple[Finite, ...]
    coefficients: dict[str, tuple[Finite, ...]]

    @model_validator(mode="after")
    def _as_many_as_penalties(self) -> Self:
        for name, values in self.coefficients.items():
            if len(values) != len(self.alphas):
                raise ValueError(f"{name} has {len(values)} coefficients")
        return self


class Correlation(Record):
    """Rank correlation of every two features; symmetric, ones on the diagonal."""

    names: tuple[str, ...]
    values: tuple[tuple[Finite, ...], ...]
    method: str = ""
    n: Count | None = None

    @model_validator(mode="after")
    def _square(self) -> Self:
        if {len(self.values), *(len(row) for row in self.values)} - {len(self.names)}:
            raise ValueError("a correlation matrix is square, with a name a row")
        return self


class Svm(Record):
    """The SVM on the selected features, in standardised units; no weights with the RBF kernel.

    Weights and intercept are those of the machine as fitted. Its decision value minus
    `decision_mean`, divided by `decision_sd`, is what Platt's scaling takes (no division by 0);
    null where an earlier release wrote the file.
    """

    kernel: Literal["linear", "rbf"] = "linear"
    cost: Finite
    gamma: Finite | None = None
    weights: dict[str, Finite]
    intercept: Finite
    decision_mean: Number = None
    decision_sd: Number = None


class FoldSelections(Record):
    """Columns that the LASSO kept on the training patients without each fold in turn.

    `kept` has a list a fold, out of `candidates` columns that are the same in all folds; `others`
    counts those kept beside them that are not, as they are of a network trained for this fold.
    """

    ALIKE = ("kept", "others")

    candidates: Count
    kept: tuple[tuple[str, ...], ...]
    others: tuple[Count, ...]


class LeftOut(Record):
    """Declared clinical column of which nothing is used.

    `differ`: training patients who differ from its most frequent level, or usual value; `None`
    where they are too few to show.
    """

    column: str
    differ: Count | None


class Cox(Record):
    """The Cox model on the selected features: logarithms of hazard ratios of one unit of each.

    `baseline` is the logarithm of the cumulative hazard at the horizon of an average patient.
    """

    cost: Finite
    log_hazard_ratios: dict[str, Finite]
    baseline: Finite


class Selection(Record):
    """Selection of a model's features, from all columns to those that it uses."""

    steps: tuple[SelectionStep, ...] = ()
    alpha: Number = None
    cv: CrossValidation | None = None
    coefficients: dict[str, Finite] = Field(default_factory=dict)
    path: LassoPath | None = None
    correlation: Correlation | None = None
    svm: Svm | None = None
    cox: Cox | None = None
    folds: FoldSelections | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def _as_written(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Scalar = StrictBool | StrictInt | Finite | str
Value = Annotated[
    Scalar | tuple[Scalar, ...] | dict[Key, Scalar],
    BeforeValidator(_as_written),
]
Block = dict[Key, Value]


class RecordedColumn(Record):
    """A clinical column as the study declares it."""

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unit: str = ""
    summary: str = ""
    decimals: Count | None = None


class RecordedSettings(Record):
    """Every setting of a study but its roster and keys, and sentences on what no setting says.

    `radiomics_file` is the text of the extraction settings; empty in a study without radiomics.
    `remarks` say where the study differs from the paper or completes it beyond its settings.
    """

    folds: Count
    base_models: tuple[str, ...]
    fusion_models: tuple[str, ...] = ()
    model_options: dict[str, Block] = Field(default_factory=dict)
    strata: tuple[str, ...] = ()
    clinical: tuple[RecordedColumn, ...] = ()
    imaging: Block = Field(default_factory=dict)
    radiomics: Block = Field(default_factory=dict)
    harmonisation: Block = Field(default_factory=dict)
    follow_up: Block = Field(default_factory=dict)
    selection: Block = Field(default_factory=dict)
    svm: Block = Field(default_factory=dict)
    dl2d: Block = Field(default_factory=dict)
    dl3d: Block = Field(default_factory=dict)
    fusion: Block = Field(default_factory=dict)
    privacy: Block = Field(default_factory=dict)
    differential_privacy: Block = Field(default_factory=dict)
    training: Block = Field(default_factory=dict)
    waiting: Block = Field(default_factory=dict)
    analysis: Block = Field(default_factory=dict)
    reporting: Block = Field(default_factory=dict)
    interpolation: Block = Field(default_factory=dict)
    radiomics_file: str = ""
    remarks: tuple[str, ...] = ()


# the last is of a time to event
AucMethod = Literal["", "score", "wald"]


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


SCHEMA = 1


class StudySite(Record):
    """One hospital of the roster."""

    name: str
    trains: bool = True


class StudyTestSet(Record):
    """One named test set."""

    name: str
    split: str
    sites: tuple[str, ...]


class StudyInfo(Record):
    """Identity of the study; `digest` is the SHA-256 (hex) that the sites approved."""

    name: str
    endpoint: str
    digest: str
    seed: int
    sites: tuple[StudySite, ...]
    test_sets: tuple[StudyTestSet, ...] = ()


class RunInfo(Record):
    """Circumstances of the run: engine, start (ISO 8601), release, machine in words."""

    engine: str
    started: str
    finished: str = ""
    software: str = ""
    machine: str = ""


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

    `se` is DeLong's standard error of the AUC.
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


class Table1Cell(Record):
    """Count and percentage of a level, or mean and SD, or median and quartiles.

    `suppressed` = something in it is null because a disclosure rule withholds it; `note` says why
    a median or quartile is null that no such rule withholds.
    """

    n: MaybeCount = None
    percent: Number = None
    mean: Number = None
    sd: Number = None
    median: Number = None
    q1: Number = None
    q3: Number = None
    suppressed: bool = False
    note: str = ""


class Table1Pair(Record):
    """A test set compared with the training set; `p_band` and `note` are those of the row."""

    test: str | None = None
    p: Share = None
    p_band: tuple[Share, Share] | None = None
    note: str = ""


class Table1Row(Record):
    """One line of Table 1; `level` is null for a continuous variable; one P a variable.

    `missing` counts patients without a value; `p_band` holds the ends of a band that P lies in,
    where P itself would give withheld counts away. `note` says why P is null or without some sets.
    `pairs` has each test set against the training set, where there are several.
    """

    variable: str
    level: str | None = None
    kind: str
    decimals: Count | None = None
    sets: dict[str, Table1Cell]
    missing: dict[str, MaybeCount] = Field(default_factory=dict)
    test: str | None = None
    p: Share = None
    p_band: tuple[Share, Share] | None = None
    note: str = ""
    pairs: dict[str, Table1Pair] = Field(default_factory=dict)


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


class FusionCandidate(Record):
    """One stacker and its cross-validated AUC on the out-of-fold probabilities."""

    name: str
    cv_auc: Share = None


class Fusion(Record):
    """Stackers that were compared, and the one used."""

    candidates: tuple[FusionCandidate, ...] = ()
    used: str


class Refusal(Record):
    """A release that a site's disclosure rule refused; never the value itself."""

    site: str
    rule: str
    threshold: float | int | str | None = None
    subset: str
    run: RunName = "federated"


class RowLinkage(Record):
    """Patients with a pooled row, and those with exactly one that fits their clinical values."""

    patients: Count
    unique: Count
    run: RunName = "federated"


class MembershipAttack(Record):
    """Success of telling a site's training patients from its test patients by a model's loss."""

    run: RunName = "federated"
    site: str
    model: ModelName
    members: Count
    others: Count
    auc: Share
    auc_low: Share
    auc_high: Share
    tpr: Share
    tpr_low: Share
    tpr_high: Share


class ReleaseFigures(Record):
    """Figures on the sets of patients that a site was asked about.

    `epsilon` is over all runs; null = no bound. `stand_ins` counts solutions of the coordinator's
    that it went on with, though its own differ in the last digits; null = it derives no question.
    """

    run: RunName = "federated"
    site: str
    smallest: Count
    determined: Count
    epsilon: Number
    stand_ins: Count | None = None


class CanarySearch(Record):
    """Findings of one decoder among made-up patients planted in a copy of a site's totals.

    `chance` counts canaries "found" in totals without them. `patients_found` of the site's own
    `patients` is rounded up. All null = not measured: the site derives no question.
    """

    run: RunName = "federated"
    site: str
    decoder: Literal["components", "columns", "cells", "differences"]
    searched: Count | None
    planted: Count | None
    found: Count | None
    chance: Count | None
    patients: Count | None
    patients_found: Count | None


class PrivacyCost(Record):
    """Most that the networks' training reveals of any one patient of a site."""

    run: RunName
    site: str
    epsilon: Finite
    delta: Share
    noise_multiplier: Finite


class Transfer(Record):
    """Messages and bytes between the server and one site; up = from the site to the server."""

    site: str
    exchange: str
    phase: str
    rounds: Count = 0
    messages: Count
    bytes_up: Count
    bytes_down: Count
    run: RunName = "federated"


class HorizonArea(Record):
    """Cumulative, dynamic area at a horizon, weighted for censoring."""

    horizon: Finite
    auc: Share = None
    auc_low: Share = None
    auc_high: Share = None


class RiskGroup(Record):
    """Kaplan-Meier curve of the patients of low or of high risk, at the ends of joined periods."""

    ALIKE = ("times", "at_risk", "events", "censored", "survival")

    group: Literal["low", "high"]
    times: tuple[Finite, ...]
    at_risk: tuple[Count, ...]
    events: tuple[Count, ...]
    censored: tuple[Count, ...]
    survival: tuple[Share, ...]
    low: tuple[Share, ...]
    high: tuple[Share, ...]


class RiskCalibrationGroup(Record):
    """Patients of about the same risk: predicted, and observed by Kaplan-Meier; null = withheld."""

    n: MaybeCount = None
    predicted: Share = None
    observed: Share = None
    observed_low: Share = None
    observed_high: Share = None


class FollowUpMeasures(Record):
    """One model of one run on one set, where the endpoint has a time.

    `log_rank` compares patients of low and of high risk, `log_rank_within` within hospitals.
    """

    run: RunName
    model: ModelName
    set: str
    n: MaybeCount = None
    events: MaybeCount = None
    cutoff: Number = None
    harrell: Share = None
    harrell_low: Share = None
    harrell_high: Share = None
    uno: Share = None
    uno_low: Share = None
    uno_high: Share = None
    areas: tuple[HorizonArea, ...] = ()
    log_rank: Number = None
    p: Share = None
    log_rank_within: Number = None
    p_within: Share = None
    groups: tuple[RiskGroup, ...] = ()
    predicted: Share = None
    observed: Share = None
    observed_low: Share = None
    observed_high: Share = None
    calibration: tuple[RiskCalibrationGroup, ...] = ()
    note: str = ""


class Results(Record):
    """The whole of results.json."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True
    )

    schema_number: Literal[1] = Field(1, alias="schema")
    study: StudyInfo
    run: RunInfo
    settings: RecordedSettings | None = None
    warnings: tuple[str, ...] = ()
    performance: tuple[Performance, ...] = ()
    site_performance: tuple[SitePerformance, ...] = ()
    leave_one_out: tuple[LeaveOneOut, ...] = ()
    delong: tuple[DeLong, ...] = ()
    ceiling: dict[str, Share] | None = None
    roc: tuple[Roc, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    calibration_fits: tuple[CalibrationFit, ...] = ()
    recalibration: tuple[Recalibration, ...] = ()
    decision_curve: tuple[DecisionCurve, ...] = ()
    follow_up: tuple[FollowUpMeasures, ...] = ()
    strata: tuple[Stratum, ...] = ()
    strata_tests: tuple[StratumTest, ...] = ()
    participants: tuple[Participant, ...] = ()
    slices: tuple[SliceCount, ...] = ()
    table1: tuple[Table1Row, ...] = ()
    selection: dict[RunName, dict[str, Selection]] = Field(default_factory=dict)
    fusion: dict[RunName, Fusion] = Field(default_factory=dict)
    linkage: tuple[RowLinkage, ...] = ()
    membership: tuple[MembershipAttack, ...] = ()
    releases: tuple[ReleaseFigures, ...] = ()
    canaries: tuple[CanarySearch, ...] = ()
    training: dict[RunName, dict[str, dict[str, dict[str, tuple[Number, ...]]]]] = Field(
        default_factory=dict
    )
    privacy: tuple[PrivacyCost, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    ledger: tuple[LedgerSummary, ...] = ()
    timing: dict[str, dict[RunName, Finite]] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
