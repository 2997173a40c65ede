"""Schema 1 of results.json as typed records; `docs/results.md` explains every key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, StrictBool, StrictInt

from common.models import ModelName
from server.report.performance_records import (
    Calibration,
    CalibrationFit,
    DecisionCurve,
    DeLong,
    LeaveOneOut,
    Performance,
    Recalibration,
    Roc,
    SitePerformance,
    Stratum,
    StratumTest,
)
from server.report.privacy_records import (
    CanarySearch,
    LedgerSummary,
    MembershipAttack,
    PrivacyCost,
    Refusal,
    ReleaseFigures,
    RowLinkage,
    Transfer,
)
from server.report.record import Count, Finite, MaybeCount, Number, Record, RunName, Share
from server.report.selection_records import Cox, Selection


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


class FusionCandidate(Record):
    """One stacker and its cross-validated AUC on the out-of-fold probabilities."""

    name: str
    cv_auc: Share = None


class Fusion(Record):
    """Stackers that were compared, and the one used; `cox` where the endpoint has a time.

    A unit of its `log_hazard_ratios` is one standard deviation of the logarithm of a base model's
    cumulative hazard.
    """

    candidates: tuple[FusionCandidate, ...] = ()
    used: str
    cox: Cox | None = None


class HorizonArea(Record):
    """Cumulative, dynamic area at a horizon, weighted for censoring."""

    horizon: Finite
    auc: Share = None
    auc_low: Share = None
    auc_high: Share = None


class RiskGroup(Record):
    """Life table of the patients of low or of high risk, at the ends of joined periods."""

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
