"""Schema 1 of results.json as typed records; `docs/results.md` explains every key."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from common.study import BaseModelName, FusionModelName

SCHEMA = 1
ModelName = BaseModelName | FusionModelName
StepName = Literal["columns", "constant", "rare", "tied", "spearman", "icc", "lasso"]


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
RunName = Annotated[str, Field(pattern=r"^(federated|pooled|local:.+)$")]


class Record(BaseModel):
    """Base of every record: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


R = TypeVar("R", bound=Record)


def _equal_lengths(record: R, *fields: str) -> R:
    lengths = {name: len(getattr(record, name)) for name in fields}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"lists must have one length: {found}")
    return record


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
    """Which study was run; `digest` is the SHA-256 (hex) that the sites approved."""

    name: str
    endpoint: str
    digest: str
    seed: int
    sites: tuple[StudySite, ...]
    test_sets: tuple[StudyTestSet, ...] = ()


class RunInfo(Record):
    """How it was run: engine, start (ISO 8601), release of this software, machine in words."""

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

    `correct`, `tp`, `tn` count patients at the frozen cut-off; `method` says how the AUC was made.
    """

    run: RunName
    model: ModelName
    set: str
    n: Count
    positives: MaybeCount = None
    auc: Share = None
    ci_low: Share = None
    ci_high: Share = None
    cutoff: Number = None
    correct: MaybeCount = None
    tp: MaybeCount = None
    tn: MaybeCount = None
    method: str = ""

    @property
    def negatives(self) -> int | None:
        """Patients without the endpoint."""
        return None if self.positives is None else self.n - self.positives

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
    """One model on the part of a test set that one site holds; `method` says how it was made."""

    run: RunName
    set: str
    site: str
    model: ModelName
    n: Count
    positives: Count
    auc: Share = None
    ci_low: Share = None
    ci_high: Share = None
    method: str = ""


class DeLong(Record):
    """Paired comparison of two AUCs on the same patients; two-sided P."""

    run: RunName
    set: str
    model_a: ModelName
    model_b: ModelName
    z: Number = None
    p: Share = None


class Roc(Record):
    """Points of an ROC curve, from (0, 0) to (1, 1)."""

    run: RunName
    set: str
    model: ModelName
    fpr: tuple[Finite, ...]
    tpr: tuple[Finite, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        return _equal_lengths(self, "fpr", "tpr")


class SelectionStep(Record):
    """What was left after a step: the names, or only how many where names say nothing (PCA).

    `constant` is the exception: it lists the features that were dropped as they never vary.
    """

    step: StepName
    names: tuple[str, ...] | None = None
    count: Count | None = None

    @property
    def size(self) -> int | None:
        """How many features were left (`constant`: dropped)."""
        return len(self.names) if self.names is not None else self.count


class CrossValidation(Record):
    """Mean squared error of the LASSO, averaged over the folds, at each penalty."""

    alphas: tuple[Finite, ...]
    errors: tuple[Finite, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        return _equal_lengths(self, "alphas", "errors")


class Svm(Record):
    """The SVM on the selected features, in standardised units; no weights with the RBF kernel."""

    kernel: Literal["linear", "rbf"] = "linear"
    cost: Finite
    gamma: Finite | None = None
    weights: dict[str, Finite]
    intercept: Finite


class Selection(Record):
    """From all columns of an arm to its model."""

    steps: tuple[SelectionStep, ...] = ()
    alpha: Number = None
    cv: CrossValidation | None = None
    coefficients: dict[str, Finite] = {}
    svm: Svm | None = None
    notes: tuple[str, ...] = ()


class Table1Cell(Record):
    """Count and percentage of a level, or mean and SD, or median and quartiles.

    `suppressed` = something in it is null because a disclosure rule withholds it.
    """

    n: MaybeCount = None
    percent: Number = None
    mean: Number = None
    sd: Number = None
    median: Number = None
    q1: Number = None
    q3: Number = None
    suppressed: bool = False


class Table1Row(Record):
    """One line of Table 1; `level` is null for a continuous variable; one P a variable.

    `missing` counts patients without a value; `p_band` holds the ends of a band that P lies in,
    where P itself would give withheld counts away.
    """

    variable: str
    level: str | None = None
    kind: str
    decimals: Count | None = None
    sets: dict[str, Table1Cell]
    missing: dict[str, MaybeCount] = {}
    test: str | None = None
    p: Share = None
    p_band: tuple[Share, Share] | None = None


class CalibrationBin(Record):
    """Patients whose predicted probability falls in one bin; null = withheld."""

    n: MaybeCount = None
    mean_predicted: Share = None
    observed: Share = None


class Calibration(Record):
    """Predicted against observed risk, and the Brier score."""

    run: RunName
    set: str
    model: ModelName
    bins: tuple[CalibrationBin, ...]
    brier: Number = None


class DecisionCurve(Record):
    """Net benefit of acting on the model, and of treating everybody, at each threshold."""

    run: RunName
    set: str
    model: ModelName
    thresholds: tuple[Finite, ...]
    net_benefit: tuple[Number, ...]
    treat_all: tuple[Number, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        return _equal_lengths(self, "thresholds", "net_benefit", "treat_all")


class Stratum(Record):
    """AUC within one level of a clinical column; null = too few patients."""

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
    subject: str
    run: RunName = "federated"


class PrivacyCost(Record):
    """What the networks' training has told of any one patient of a site, at most."""

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


class Results(Record):
    """The whole of results.json."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, serialize_by_alias=True
    )

    schema_number: Literal[1] = Field(1, alias="schema")
    study: StudyInfo
    run: RunInfo
    warnings: tuple[str, ...] = ()
    performance: tuple[Performance, ...] = ()
    site_performance: tuple[SitePerformance, ...] = ()
    delong: tuple[DeLong, ...] = ()
    ceiling: dict[str, Share] | None = None
    roc: tuple[Roc, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    decision_curve: tuple[DecisionCurve, ...] = ()
    strata: tuple[Stratum, ...] = ()
    table1: tuple[Table1Row, ...] = ()
    selection: dict[RunName, dict[str, Selection]] = {}
    fusion: dict[RunName, Fusion] = {}
    training: dict[RunName, dict[str, dict[str, dict[str, tuple[Number, ...]]]]] = {}
    privacy: tuple[PrivacyCost, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    timing: dict[str, dict[RunName, Finite]] = {}
    software: dict[str, str] = {}
