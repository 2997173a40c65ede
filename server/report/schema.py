"""Schema 1 of results.json as typed records; `docs/results.md` explains every key."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from server.report.schema_base import (
    Count,
    Finite,
    MaybeCount,
    ModelName,
    Number,
    Record,
    RunName,
    Share,
    equal_lengths,
)
from server.report.schema_flow import LedgerSummary, Participant
from server.report.schema_selection import Selection
from server.report.schema_settings import RecordedSettings
from server.report.schema_strata import Stratum, StratumTest

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
    Counts that a disclosure rule withholds are null.
    """

    run: RunName
    model: ModelName
    set: str
    n: MaybeCount
    positives: MaybeCount = None
    auc: Share = None
    ci_low: Share = None
    ci_high: Share = None
    ci_method: Literal["", "delong", "newcombe"] = ""
    cutoff: Number = None
    correct: MaybeCount = None
    tp: MaybeCount = None
    tn: MaybeCount = None
    method: str = ""

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
    ci_method: Literal["", "delong", "newcombe"] = ""
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
        return equal_lengths(self, "fpr", "tpr")


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


class Table1Row(Record):
    """One line of Table 1; `level` is null for a continuous variable; one P a variable.

    `missing` counts patients without a value; `p_band` holds the ends of a band that P lies in,
    where P itself would give withheld counts away. `note` says why P is null or without some sets.
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
        return equal_lengths(self, "thresholds", "net_benefit", "treat_all")


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
    settings: RecordedSettings | None = None
    warnings: tuple[str, ...] = ()
    performance: tuple[Performance, ...] = ()
    site_performance: tuple[SitePerformance, ...] = ()
    delong: tuple[DeLong, ...] = ()
    ceiling: dict[str, Share] | None = None
    roc: tuple[Roc, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    decision_curve: tuple[DecisionCurve, ...] = ()
    strata: tuple[Stratum, ...] = ()
    strata_tests: tuple[StratumTest, ...] = ()
    participants: tuple[Participant, ...] = ()
    table1: tuple[Table1Row, ...] = ()
    selection: dict[RunName, dict[str, Selection]] = Field(default_factory=dict)
    fusion: dict[RunName, Fusion] = Field(default_factory=dict)
    training: dict[RunName, dict[str, dict[str, dict[str, tuple[Number, ...]]]]] = Field(
        default_factory=dict
    )
    privacy: tuple[PrivacyCost, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    ledger: tuple[LedgerSummary, ...] = ()
    timing: dict[str, dict[RunName, Finite]] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
