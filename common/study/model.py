"""Study file: TOML in, one validated model out; its digest is what a site approves.

The defaults are the paper's (`presets/paper.toml` spells them out). A study file names a preset
with `preset = "phantom"` and contains only its differences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, get_args

import tomli_w
from pydantic import (
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from common.errors import InputError, SignatureError
from common.masking import FEWEST
from common.masking.absence import AbsentSite
from common.masking.leaving import LeftSite
from common.masking.lost_keys import LetGoSite
from common.masking.neighbours import degree_of_step, neighbours
from common.models import (
    BASE_MODELS,
    FUSION_MODELS,
    MODELS,
    BaseModelName,
    FusionModelName,
    NetworkName,
    find_model,
    in_order,
    network_input,
)
from common.presets import merge, preset_text
from common.study.analysis import AnalysisSettings, check_primary
from common.study.block import Positive, Settings, explain, findings
from common.study.follow_up import FollowUp, check_follow_up
from common.study.harmonisation import (
    HarmonisationSettings,
    HarmonisedName,
    check_harmonisation,
)
from common.study.networks import PAPER_2D
from common.study.networks import NetworkSettings as NetworkSettings
from common.study.private_training import DifferentialPrivacy, check_trains_privately
from common.study.release_mark import other_release
from common.study.reporting import ReportingFields
from common.study.strategy import refusal_of_masks
from common.study.training import TrainingSettings, check_quorum, colluders_stood
from common.utils.bounded import parse_toml
from common.utils.text_file import check_levels, on_one_line, read_written

# a model of the outcome, of the split or of a path would be a model of nothing
OWN_COLUMNS = ("patient_id", "label", "split", "image", "mask", "confirmed", "exam_offset_days")
SplitName = Literal["train", "internal_test", "external_test"]
Name = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")


class SiteEntry(Settings):
    """Hospital of the roster."""

    name: str = Name
    trains: bool = True
    public_key: str = ""


class TestSet(Settings):
    """Named test set: the patients with this split at these sites.

    `origins` is for a site that holds several hospitals' patients, as the pooled reference does:
    the hospitals whose patients belong to the set; by default the sites themselves.
    """

    __test__ = False  # not a pytest class

    name: str = Name
    split: SplitName
    sites: tuple[str, ...] = Field(min_length=1)
    origins: tuple[str, ...] = ()

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Hospitals whose patients belong to the set."""
        return self.origins or self.sites


class ClinicalColumn(Settings):
    """Clinical column of cohort.csv.

    `binary` and `categorical` take `levels` (the first is the reference); `ordinal` takes `levels`
    in order and enters the model as 0, 1, 2, ...; `continuous` is a number. An empty cell is a
    missing value, and so is any text in `missing`. Table 1 gives mean and SD of a continuous
    column, or with `summary = "median"` median and quartiles, within one recorded unit or 1 % of
    their distance; with `decimals` all is exact where 1024 recorded values cover the column.
    """

    name: str = Name
    kind: Literal["continuous", "binary", "categorical", "ordinal"]
    levels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unit: str = ""
    summary: Literal["mean", "median"] = "mean"
    decimals: int | None = Field(
        None,
        ge=0,
        le=6,
        description="number of decimals recorded; exact medians and rank tests within 1024 cells",
    )

    @model_validator(mode="after")
    def _levels_match_kind(self) -> Self:
        if self.kind == "continuous" and self.levels:
            raise ValueError("a continuous column has no levels")
        if self.kind != "continuous" and (self.summary != "mean" or self.decimals is not None):
            raise ValueError("summary and decimals are for continuous columns")
        if self.kind == "binary" and len(self.levels) != 2:
            raise ValueError("a binary column needs exactly two levels")
        if self.kind in ("categorical", "ordinal") and len(self.levels) < 2:
            raise ValueError(f"{self.kind} column needs at least two levels")
        check_levels(self.levels, self.missing)
        return self


class ImagingSettings(Settings):
    """Window, resampling and crops (paper, "CT examination and image preprocessing")."""

    window: float = Field(350.0, gt=0)
    level: float = 50.0
    spacing_mm: float = Field(1.0, ge=0.25, le=10)
    order: Literal["window_first", "resample_first"] = "window_first"
    crop2d_size: int = Field(256, ge=16, le=1024)
    crop2d_slices_each_side: int = Field(6, ge=0, le=100)
    crop3d_size: int = Field(96, ge=16, le=512)


class RadiomicsSettings(Settings):
    """Feature-extraction file of `common/presets`, and the expected number of features.

    With `window` the features are those of the image clipped to the window of `[imaging]`.
    """

    settings: str = "radiomics-1834"
    expected_features: int = Field(1834, ge=1)
    window: bool = False


class SelectionSettings(Settings):
    """z-score, Spearman filter, ICC, LASSO (paper, "Feature selection and model construction")."""

    spearman_threshold: float = Field(0.9, gt=0, le=1)
    spearman_bins: int = Field(64, ge=4)
    icc_threshold: float = Field(0.75, ge=0, le=1)
    clip: float = Field(3.0, gt=0)
    lasso_alphas: int = Field(50, ge=2)
    lasso_log10_min: float = -3.0
    lasso_log10_max: float = 0.0
    lasso_fallback: int = Field(5, ge=1)
    pca_components: int = Field(256, ge=1)
    missing_indicators: bool = Field(
        False,
        title="a column that says who lacks a variable, where a hospital lacks it altogether",
        json_schema_extra={"origin": "ours: it would tell hospitals apart, so it is off"},
    )
    networks: Literal["off", "show", "use"] = Field(
        "off",
        description="LASSO on the features of each network: show = beside the network's own"
        " probability, as in the paper's Fig. S1; use = a machine on them gives the probability",
    )


class SvmSettings(Settings):
    """Support vector machine with squared hinge loss; cost and width chosen by cross-validation.

    Empty `costs` are those of the kernel. `gammas` are multiples of scikit-learn's "scale";
    `landmarks` is the number of synthetic points that stand in for patients in the RBF kernel.
    Weaker penalties than a linear machine's default need more rounds than the 60 a site allows.
    """

    kernel: Literal["linear", "rbf"] = "linear"
    costs: tuple[Positive, ...] = ()
    gammas: tuple[Positive, ...] = Field((1.0,), min_length=1)
    landmarks: int = Field(256, ge=16)
    max_rounds: int = Field(60, ge=1, le=60)
    tolerance: float = Field(3e-4, gt=0)

    @property
    def cost_grid(self) -> tuple[float, ...]:
        """Costs to compare, increasing."""
        default = {"linear": (0.001, 0.01, 0.1), "rbf": (0.01, 0.1, 1.0)}
        return tuple(sorted(set(self.costs))) or default[self.kernel]


class FusionSettings(Settings):
    """Decision-level fusion: cross-validation compares candidates, and one is used.

    `pooling` is the stacker's input: `rows`, the sites' out-of-fold probabilities to `row_decimals`
    decimals, or `bins`, sums of their counts per bin. From bins only a forest can be grown, so
    `candidates` count with `rows` alone. Rows take three training sites and more.
    """

    stacker: Literal["forest", "svm", "boosting", "best"] = "forest"
    candidates: tuple[Literal["forest", "svm", "boosting"], ...] = ("forest", "svm", "boosting")
    trees: int = Field(100, ge=1, le=1000)
    pooling: Literal["rows", "bins"] = "rows"
    bins: int = Field(20, ge=2, le=100)
    monotone: bool = Field(
        True,
        title="the forest never says less where a base model says more",
        json_schema_extra={
            "origin": "ours: out of fold a model without skill runs against the outcome, and a"
            " forest that may turn it round seems to have skill in the training set"
        },
    )
    row_decimals: int = Field(
        2, ge=1, le=4, description="decimals of a pooled probability; fewer hide more patients"
    )

    @model_validator(mode="after")
    def _bins_grow_a_forest(self) -> Self:
        if self.pooling == "bins" and self.stacker != "forest":
            raise ValueError(
                f'pooling = "bins" cannot fit stacker = "{self.stacker}": use "forest",'
                ' or pooling = "rows"'
            )
        return self


Mode = Literal["guarded", "faithful"]
MODES: tuple[Mode, ...] = get_args(Mode)  # strictest first
Masking = Literal["required", "where_possible", "off"]
MASKING: tuple[Masking, ...] = get_args(Masking)  # strictest first
MOST_FOLDS = 20
FEWEST_MASKED = FEWEST


class PrivacySettings(Settings):
    """Thresholds below which a site refuses; those in a site's own file may only be stricter.

    So lowering one is the study's decision, for all sites: see `common.disclosure.rule.stricter`.
    What each protects stands in `common.disclosure`. `mode` is `faithful` only where a
    site's own file says so too.

    `masking` hides every site's sums and weights from the coordinator. It takes three sites, as
    each of two could subtract its own numbers from the sum: `required` refuses sums over two,
    `where_possible` and `off` state openly that they go in the clear.
    """

    min_rows: int = Field(10, ge=1)
    min_rows_per_fold: int = Field(5, ge=1)
    min_per_class: int = Field(5, ge=1)
    min_class_per_fold: int = Field(3, ge=0)
    min_oof_rows: int = Field(20, ge=1)
    min_cell: int = Field(3, ge=0)
    min_rank_cell: int = Field(5, ge=1)
    min_rank_others: int = Field(3, ge=0)
    min_category: int = Field(5, ge=0)
    min_rows_weak_penalty: int = Field(200, ge=0)
    max_svm_rounds: int = Field(60, ge=1, le=60)
    max_tree_depth: int = Field(4, ge=1)
    max_plain_columns: int = Field(20, ge=0)
    max_refusals: int = Field(8, ge=1)
    max_releases: int = Field(5, ge=1)
    max_unique_rows: float = Field(0.5, ge=0, le=1)
    max_departures: int = Field(6, ge=0)
    mask_neighbours: int = Field(16, ge=4, multiple_of=2)
    mode: Mode = "guarded"
    masking: Masking = "required"


class WaitingSettings(Settings):
    """Waiting times of the server for the sites, in seconds."""

    enrol_seconds: float = Field(86_400.0, gt=0)
    sum_seconds: float = Field(3_600.0, gt=0)
    train_seconds: float = Field(86_400.0, gt=0)


Departure = LeftSite | AbsentSite | LetGoSite
"""Statement of a hospital without which the others may go on."""


class Study(Settings):
    """Whole study. See docs/formats.md for a commented example.

    `coordinator_key` is the identity key (base64) that signs the final models; sites of a study
    that names one take no others. `left` holds the statements of hospitals that left for good,
    and the consents of those that are away for long.
    """

    name: str = Name
    endpoint: str
    seed: int = Field(20240101, ge=0)
    # nested cross-validation: two folds besides the outer one are needed to choose by
    folds: int = Field(5, ge=3, le=MOST_FOLDS)
    coordinator_key: str = ""
    sites: tuple[SiteEntry, ...]
    left: tuple[Departure, ...] = ()
    test_sets: tuple[TestSet, ...]
    clinical: tuple[ClinicalColumn, ...] = ()
    strata: tuple[str, ...] = ()
    base_models: tuple[BaseModelName, ...] = BASE_MODELS
    fusion_models: tuple[FusionModelName, ...] = FUSION_MODELS
    model_options: dict[str, SerializeAsAny[Settings]] = Field({}, validate_default=True)
    imaging: ImagingSettings = ImagingSettings()
    radiomics: RadiomicsSettings = RadiomicsSettings()
    harmonisation: HarmonisationSettings = HarmonisationSettings()
    follow_up: FollowUp | None = None
    selection: SelectionSettings = SelectionSettings()
    svm: SvmSettings = SvmSettings()
    dl2d: NetworkSettings = Field(default_factory=lambda: NetworkSettings(**PAPER_2D))
    dl3d: NetworkSettings = Field(default_factory=NetworkSettings)
    fusion: FusionSettings = FusionSettings()
    privacy: PrivacySettings = PrivacySettings()
    waiting: WaitingSettings = WaitingSettings()
    training: TrainingSettings = TrainingSettings()
    differential_privacy: DifferentialPrivacy = DifferentialPrivacy()
    reporting: ReportingFields = ReportingFields()
    analysis: AnalysisSettings = AnalysisSettings()

    @property
    def clinical_columns(self) -> tuple[str, ...]:
        """Columns of the clinical table: one per number or order, one per level but the first."""
        names: list[str] = []
        for column in self.clinical:
            if column.kind in ("continuous", "ordinal"):
                names.append(column.name)
            else:
                names += [f"{column.name}={level}" for level in column.levels[1:]]
        return tuple(names)

    @property
    def training_sites(self) -> tuple[str, ...]:
        """Names of the sites whose patients train the models, in roster order."""
        return tuple(site.name for site in self.sites if site.trains)

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of all sites, in roster order."""
        return tuple(site.name for site in self.sites)

    @property
    def needs_images(self) -> bool:
        """True when any model uses CT images."""
        return bool(self.tables - {"clinical"})

    @property
    def tables(self) -> frozenset[str]:
        """Base tables that the models read."""
        return frozenset(table for name in self.base_models for table in MODELS[name].tables)

    @property
    def networks(self) -> tuple[NetworkName, ...]:
        """Networks among the base models."""
        return tuple(name for name in in_order(self.base_models) if MODELS[name].network)

    @property
    def reads_network_features(self) -> bool:
        """True when features of networks enter a model or a selection."""
        selected = self.selection.networks != "off"
        return bool(self.networks) and (selected or "fusion_feature" in self.fusion_models)

    def fits_machine(self, name: str) -> bool:
        """Return whether a model is a support vector machine, or Cox model, over the sites."""
        spec = MODELS[name]
        if spec.network is not None:
            return self.selection.networks == "use"
        return spec.machines if self.follow_up is None else spec.times

    @property
    def network_outputs(self) -> int:
        """Outputs of a network: one logit, or that of the hazard in each period."""
        return 1 if self.follow_up is None else self.follow_up.periods

    @property
    def network_answer(self) -> str:
        """Last part of the name of the base table of what a network says of patients."""
        return "probability" if self.follow_up is None else "hazard"

    @property
    def cuts_slices(self) -> bool:
        """True when a network looks at axial slices."""
        return any(network_input(name).dimensions == 2 for name in self.networks)

    def harmonises(self, table: HarmonisedName) -> bool:
        """Return whether the columns of a table are harmonised over batches.

        Patients of one hospital, by hospital, have nothing to be harmonised with.
        """
        own = self.harmonisation
        alone = own.batch == "hospital" and self.one_hospital
        return table in own.tables and not alone

    @property
    def one_hospital(self) -> bool:
        """True when one hospital trains, and holds no patients of others."""
        pooled = any(test.origins for test in self.test_sets)
        return len(self.training_sites) == 1 and not pooled

    def network(self, name: NetworkName) -> NetworkSettings:
        """Return the settings of a network; of the paper's, whether the study trains it or not."""
        own: Any = self.model_options.get(name) or getattr(self, name)
        found: NetworkSettings = own
        return found

    @property
    def radiomics_window(self) -> ImagingSettings | None:
        """Window in which radiomics features are computed; None = in all HU."""
        return self.imaging if self.radiomics.window else None

    @property
    def roster(self) -> dict[str, str]:
        """Identity key (base64, empty where the study names none) by site."""
        return {site.name: site.public_key for site in self.sites}

    def members(self, subset: str) -> tuple[str, ...]:
        """Return the sites that hold patients of "train" or of a test set, in roster order."""
        if subset == "train":
            return self.training_sites
        members = self.test_set(subset).sites
        return tuple(site for site in self.site_names if site in members)

    @property
    def outcome(self) -> str:
        """Endpoint that the models give the risk of; where it has a time, within the horizon."""
        if self.follow_up is None:
            return self.endpoint
        return f"{self.endpoint} within {self.follow_up.horizon:g} {self.follow_up.unit}"

    @property
    def time_grid(self) -> FollowUp:
        """Grid of times; ValueError where the endpoint has no time."""
        if self.follow_up is None:
            raise ValueError("the endpoint of this study has no time")
        return self.follow_up

    @property
    def cost_grid(self) -> tuple[float, ...]:
        """Costs of support vector machines, or of Cox models where the endpoint has a time."""
        if self.follow_up is not None:
            return tuple(sorted(set(self.follow_up.costs)))
        return self.svm.cost_grid

    def masked(self, subset: str) -> bool:
        """Return whether sums over this subset are masked."""
        enough = len(self.members(subset)) >= FEWEST_MASKED
        return enough and self.privacy.masking != "off"

    @property
    def derivable(self) -> bool:
        """Return whether a site can derive every question: from masked sums over three sites.

        A strategy that compares single updates is never masked.
        """
        return self.masked("train")

    @property
    def quorum(self) -> int:
        """Return how many sites a round of training needs, 0 where it needs all of them."""
        own = self.training.quorum
        return own if own < len(self.training_sites) else 0

    def mask_partners(self, site: str, participants: Sequence[str]) -> tuple[str, ...]:
        """Return the sites with which a site shares a mask in a sum over these participants."""
        return neighbours(site, participants, self.privacy.mask_neighbours)

    def step_partners(self, site: str, invited: Sequence[str]) -> tuple[str, ...]:
        """Return the sites with which a site shares a mask in a round that may do without some."""
        sites, quorum = len(invited), min(self.quorum or len(invited), len(invited))
        stood = colluders_stood(quorum, len(self.training_sites))
        degree = degree_of_step(sites, quorum, stood, self.privacy.mask_neighbours)
        return neighbours(site, invited, degree)

    def too_few_to_mask(self) -> tuple[str, ...]:
        """Return subsets whose sums must be masked but which have too few sites for it.

        A test set at one site has no sums over sites: it is evaluated there.
        """
        if self.privacy.masking != "required":
            return ()
        fewest = {"train": 1} | {test.name: 2 for test in self.test_sets}
        return tuple(
            subset
            for subset, least in fewest.items()
            if least <= len(self.members(subset)) < FEWEST_MASKED
        )

    def test_set(self, name: str) -> TestSet:
        """Return the test set of this name; KeyError when there is none."""
        return {test.name: test for test in self.test_sets}[name]

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON of the validated study."""
        return self.own_digest

    @cached_property
    def own_digest(self) -> str:
        """The digest; every message asks for it some twenty times."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values, and then another digest."""
        made = super().model_copy(update=update, deep=deep)
        vars(made).pop("own_digest", None)
        return made

    def canonical(self) -> str:
        """Return the validated study as JSON, every key written out, in one line.

        The block of an endpoint with a time is there where the endpoint has one.
        """
        written = self.model_dump(mode="json")
        if self.follow_up is None:
            del written["follow_up"]
        return json.dumps(written, sort_keys=True, separators=(",", ":"))

    @field_validator("model_options", mode="before")
    @classmethod
    def _options_are_of_the_models(cls, written: Any, info: ValidationInfo) -> Any:
        if not isinstance(written, dict):
            return written
        chosen = [*info.data.get("base_models", ()), *info.data.get("fusion_models", ())]
        for name in written.keys() - set(chosen):
            raise ValueError(f'"{on_one_line(str(name))}" is none of the study\'s models')
        found = {}
        for name in filter(lambda one: find_model(one).options.model_fields, in_order(chosen)):
            own, options = written.get(name, {}), MODELS[name].options
            try:
                given = own.model_dump() if isinstance(own, Settings) else own
                found[name] = options.model_validate(given)
            except ValidationError as error:
                lines = findings(error, model=options)
                raise ValueError("; ".join(f"{name}: {line}" for line in lines)) from None
        return found

    @field_validator("dl2d", mode="before")
    @classmethod
    def _what_is_left_out_is_the_papers(cls, written: Any) -> Any:
        return {**PAPER_2D, **written} if isinstance(written, dict) else written

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        _check_names(self)
        return self

    @model_validator(mode="after")
    def _strategies_can_be_masked(self) -> Self:
        for name in self.networks:
            reason = refusal_of_masks(self.network(name).spec)
            if reason and self.privacy.masking != "off":
                raise ValueError(f"[{name}] {reason}")
        return self

    @model_validator(mode="after")
    def _a_quorum_hides_every_site(self) -> Self:
        specs = {name: self.network(name).spec for name in self.networks}
        check_quorum(self.training, len(self.training_sites), self.masked("train"), specs)
        return self

    @model_validator(mode="after")
    def _networks_train_privately(self) -> Self:
        for name in self.networks if self.differential_privacy.on else ():
            check_trains_privately(self.network(name))
        return self


def parse_study(text: str, *, where: str = "study.toml") -> Study:
    """Read a study from TOML text.

    Raises
    ------
    InputError : not TOML, an unknown preset, or any key or value that does not validate.
    """
    written = parse_toml(text, where)
    preset = written.pop("preset", None)
    if preset is not None:
        written = merge(parse_toml(preset_text(str(preset)), str(preset)), written)
    try:
        return Study.model_validate(written)
    except ValidationError as error:
        raise explain(error, where=where, model=Study) from None


def load_study(path: Path) -> Study:
    """Read and validate a study file; InputError when it is missing or wrong."""
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="give the path of a study.toml")
    try:
        return parse_study(read_written(path), where=str(path))
    except InputError as error:
        if (other := other_release(path)) is None:
            raise
        what, remedy = other
        raise InputError(f"{error.what}; {what}", where=error.where, remedy=remedy) from None


def _check_names(study: Study) -> None:
    """Raise ValueError when a name is used twice, is unknown, or is of a site that left."""
    names = study.site_names
    if len(set(names)) != len(names):
        raise ValueError("sites: a site name is used twice")
    if not study.training_sites:
        raise ValueError("sites: no site has trains = true")
    _check_left(study)
    sets = [test.name for test in study.test_sets]
    if len(set(sets)) != len(sets) or "train" in sets:
        raise ValueError('test_sets: names must be unique, and "train" is taken')
    for test in study.test_sets:
        for site in test.sites:
            if site not in names:
                raise ValueError(f"test_sets: {test.name} names the unknown site {site}")
    columns = [column.name for column in study.clinical]
    for column in columns:
        if column in OWN_COLUMNS or column.startswith("mask_"):
            raise ValueError(
                f"clinical: cohort.csv has a column {column} of its own, which is no clinical"
                " value; give yours another name"
            )
    if len(set(columns)) != len(columns):
        raise ValueError("clinical: a column is declared twice")
    if "clinical" in study.tables and not columns:
        raise ValueError("clinical: the clinical model needs at least one column")
    check_harmonisation(study.harmonisation, columns)
    if study.follow_up:
        models = (*study.base_models, *study.fusion_models)
        check_follow_up(study.follow_up, models, columns, study.strata)
    for stratum in study.strata:
        if stratum not in columns:
            raise ValueError(f"strata: {stratum} is not a clinical column")
    check_primary(study.analysis, (*study.base_models, *study.fusion_models), sets)
    if not study.base_models:
        raise ValueError("base_models: name at least one")
    if study.selection.networks != "off" and not study.networks:
        raise ValueError("selection: networks selects features of networks, and there is none")
    if study.fusion_models and len(study.base_models) < 2:
        raise ValueError("fusion_models: fusion needs at least two base models")


def _check_left(study: Study) -> None:
    """Check that a site that left is gone under any name, and signed it for each roster it left."""
    keys = {key: site for site, key in study.roster.items()}
    seen: set[tuple[str, str, str]] = set()
    for statement in study.left:
        site = statement.site
        if site in study.roster:
            raise ValueError(
                f"left: {site} is still one of the sites; take it out of sites and test_sets, or"
                " its statement out of left"
            )
        if statement.public_key in keys:
            raise ValueError(f"left: {site} has the key of site {keys[statement.public_key]}")
        about = (site, statement.roster, getattr(statement, "study", ""))
        if about in seen:
            raise ValueError(f"left: a statement of {site} is there twice")
        seen.add(about)
        try:
            statement.verify()
        except SignatureError as error:
            raise ValueError(f"left: {error}") from None


def write_study(study: Study, path: Path) -> Path:
    """Write a study as TOML, every setting spelled out, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = tomli_w.dumps(study.model_dump(mode="json", exclude_none=True))
    path.write_text(text, encoding="utf-8")
    return path
