"""Every choice of a study, group by group: its name, and the origin of its default.

The paper is Wang et al., eClinicalMedicine 2024;67:102385; docs/paper.md says the same at length.
What it says of its 2D and 3D networks is not the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from common.models import (
    FUSION_MODELS,
    MODELS,
    NETWORKS,
    NetworkName,
    label_of,
    labels_of,
    network_input,
    networks_seeing,
)
from common.study.model import parse_study
from common.study.strategy import REGISTERED, strategies
from server.report import words
from server.report.reading import set_label
from server.report.recorded_settings import recorded_settings
from server.report.schema import RecordedSettings


class Origin(StrEnum):
    """Origin of a setting's default."""

    PAPER = "the paper's"
    OPEN = "left open by the paper"
    ADDED = "not in the paper"


DIFFERS = "differs from the paper"

Values = Mapping[str, Any]


def written(*values: Any) -> str:
    """Write values as they stand in the study file, yes or no in words."""
    return ", ".join(_one(value) for value in values)


def _one(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_one, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def always(settings: RecordedSettings) -> bool:
    """Count in every study of the group."""
    return True


@dataclass(frozen=True)
class Choice:
    """Settings of one block that are one choice.

    Parameters
    ----------
    words : its name for a reader.
    keys : of the settings, in the order that `show` takes their values.
    origin : of the default.
    show : the values in words.
    counts : whether it has any effect in a study.
    paper : what the paper has, where the default is not that.
    is_papers : whether values are the paper's, where the default is not that.
    remark : what else is to be said of it.
    """

    words: str
    keys: tuple[str, ...]
    origin: Origin
    show: Callable[..., str] = written
    counts: Callable[[RecordedSettings], bool] = always
    paper: str = ""
    is_papers: Callable[..., bool] | None = None
    remark: str = ""

    def known(self, block: Values) -> bool:
        """Tell if a block has all settings of this choice: one of another release may not."""
        return all(key in block for key in self.keys)

    def in_words(self, block: Values) -> str:
        """Return the chosen values in words."""
        return self.show(*(block[key] for key in self.keys))

    def verdict(self, block: Values, default: Values) -> str:
        """Compare the choice with the paper, in words.

        Parameters
        ----------
        default : the block of a study that names nothing itself.
        """
        own = [block[key] for key in self.keys]
        if self.is_papers is not None:
            return Origin.PAPER if self.is_papers(*own) else f"{DIFFERS}: {self.paper}"
        if own == [default[key] for key in self.keys]:
            return self.origin
        if self.origin is Origin.PAPER:
            return f"{DIFFERS}: {self.in_words(default)}"
        return f"{self.origin}; default here: {self.in_words(default)}"


@cache
def paper_defaults() -> RecordedSettings:
    """Return the settings of a study that names none itself: those of preset `paper`."""
    study = parse_study(
        'preset = "paper"\nname = "paper"\nendpoint = "event"\nsites = [{ name = "a" }]\n'
        'test_sets = []\nclinical = [{ name = "x", kind = "continuous" }]\n'
    )
    return RecordedSettings.model_validate(recorded_settings(study))


PAPER, OPEN, ADDED = Origin.PAPER, Origin.OPEN, Origin.ADDED

RESNET50 = {
    "block": "bottleneck",
    "layers": (3, 4, 6, 3),
    "widths": (64, 128, 256, 512),
    "stem_kernel": 7,
    "stem_stride": 2,
    "stem_pool": True,
    "shortcut": "B",
    "dilated": False,
    "unusual": False,
}


def network_choices(network: NetworkName) -> Sequence[Choice]:
    """Return every choice of a network's block."""
    flat = network_input(network).dimensions == 2
    return (*_what_it_is(flat=flat), *_how_it_learns(flat=flat), *_over_hospitals())


def _what_it_is(*, flat: bool) -> Sequence[Choice]:
    source = "ImageNet" if flat else "Med3D"
    return (
        Choice("Architecture", tuple(RESNET50), PAPER, _architecture),
        Choice(
            "Initial weights",
            ("pretrained", "pretrained_sha256"),
            PAPER,
            lambda name, digest: (
                f"{name} (SHA-256 {digest[:12]}...), taken to be {source}'s" if name else "random"
            ),
            paper=source,
            is_papers=lambda name, _: bool(name),
        ),
        Choice(
            "Normalisation",
            ("norm",),
            OPEN,
            lambda norm: {
                "batch": "BatchNorm",
                "frozen": "BatchNorm, statistics kept",
                "group": "GroupNorm",
            }[norm],
        ),
        Choice(
            "Input",
            ("input_size",),
            PAPER,
            lambda size: " by ".join([str(size)] * (2 if flat else 3)),
        ),
        Choice(
            "Augmentation",
            ("augment",),
            PAPER,
            lambda on: "random flips, a random part of a larger crop" if on else "none",
        ),
    )


def _how_it_learns(*, flat: bool) -> Sequence[Choice]:
    return (
        Choice(
            "Rounds, at most",
            ("rounds",),
            OPEN if flat else PAPER,
            remark="" if flat else "epochs in the paper",
        ),
        Choice(
            "Result",
            ("select", "patience"),
            PAPER,
            _result,
            remark="its patience is left open" if flat else "",
        ),
        Choice("Batch", ("batch_size",), PAPER if flat else OPEN),
        Choice(
            "Optimiser",
            ("optimiser", "momentum"),
            PAPER,
            lambda name, momentum: "Adam" if name == "adam" else f"SGD, momentum {momentum:g}",
        ),
        Choice("Learning rate", ("learning_rate",), PAPER),
        Choice("Its course", ("schedule", "warmup_rounds"), OPEN, _course),
        Choice(
            "Weight decay (L2)",
            ("weight_decay",),
            OPEN,
            remark="stated, but not how strong" if flat else "stated for the 2D network alone",
        ),
        Choice("Gradients clipped to", ("gradient_clip",), OPEN, lambda clip: _or(clip, "not")),
        Choice("Order of patients", ("sampling",), OPEN),
        Choice("Weights of negatives and positives", ("class_weights",), OPEN),
        Choice("Precision", ("precision",), OPEN),
    )


def _over_hospitals() -> Sequence[Choice]:
    return (
        Choice("Strategy", ("strategy", "strategy_options"), ADDED, _strategy),
        Choice(
            "A round at a hospital",
            ("local_epochs", "local_steps"),
            ADDED,
            lambda epochs, steps: f"{steps} steps" if steps else _count(epochs, "epoch"),
        ),
        Choice(
            "Weights averaged over",
            ("average_last",),
            ADDED,
            lambda share: f"the last {share:.0%} of the rounds" if share else "no rounds",
        ),
        Choice("Bits a weight that is sent", ("transfer_bits",), ADDED),
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _or(value: float, otherwise: str) -> str:
    return f"{value:g}" if value else otherwise


def _architecture(*values: Any) -> str:
    given = dict(zip(RESNET50, values, strict=True))
    if given == RESNET50:
        return "ResNet50"
    if given == {**RESNET50, "dilated": True}:
        return "ResNet50, dilated"
    layers = ", ".join(map(str, given["layers"]))
    widths = ", ".join(map(str, given["widths"]))
    pool = "pooling" if given["stem_pool"] else "no pooling"
    dilated = ", dilated" if given["dilated"] else ""
    wide = "; wider than any released preset" if given["unusual"] else ""
    return (
        f"ResNet of {layers} {given['block']} blocks with {widths} planes; first convolution"
        f" {given['stem_kernel']} wide, stride {given['stem_stride']}, {pool}; shortcuts"
        f" {given['shortcut']}{dilated}{wide}"
    )


def _result(select: str, patience: int) -> str:
    if select == "last":
        return "the last round, no early stopping"
    stops = f", stopped after {patience} without a better" if patience else ""
    return f"the round with the least held-out loss{stops}"


def _course(schedule: str, warmup: int) -> str:
    rises = f", after {_count(warmup, 'round')} of rising" if warmup else ""
    return f"{schedule}{rises}"


def _strategy(name: str, options: Mapping[str, Any]) -> str:
    own = REGISTERED[name].own_options.model_fields if name in strategies() else ()
    shown = ", ".join(f"{key} {options[key]:g}" for key in own if key in options)
    return f"{name} ({shown})" if shown else name


@dataclass(frozen=True)
class Group:
    """Choices that stand together.

    Parameters
    ----------
    block : of the recorded settings; empty for what stands beside the blocks.
    counts : whether a study has any use for it.
    """

    title: str
    block: str
    choices: Sequence[Choice]
    counts: Callable[[RecordedSettings], bool] = always


def models(*names: str) -> Callable[[RecordedSettings], bool]:
    """Return a condition: a study has any of these models."""
    return lambda settings: bool({*settings.base_models, *settings.fusion_models} & set(names))


def networks_selected(settings: RecordedSettings) -> bool:
    """Tell if a LASSO selects features of each network."""
    chosen = settings.selection.get("networks", "off")
    return models(*NETWORKS)(settings) and chosen != "off"


def networks_read(settings: RecordedSettings) -> bool:
    """Tell if network features enter a linear model."""
    fused = models(*NETWORKS)(settings) and "fusion_feature" in settings.fusion_models
    return fused or networks_selected(settings)


def selected(*names: str) -> Callable[[RecordedSettings], bool]:
    """Return a condition: a study has any of these models, or selects features of networks."""
    return lambda settings: models(*names)(settings) or networks_selected(settings)


def machines(settings: RecordedSettings) -> bool:
    """Tell if a study fits support vector machines."""
    used = networks_selected(settings) and settings.selection["networks"] == "use"
    return used or models("clinical", "radiomics", "fusion_feature")(settings)


def guarded(settings: RecordedSettings) -> bool:
    """Tell if values are limited before matrices are made of them."""
    return settings.privacy.get("mode") == "guarded"


def _block_is(block: str, key: str, value: Any) -> Callable[[RecordedSettings], bool]:
    return lambda settings: getattr(settings, block).get(key) == value


def _private(settings: RecordedSettings) -> bool:
    return bool(settings.differential_privacy.get("noise_multiplier"))


def _harmonised(settings: RecordedSettings) -> bool:
    return bool(settings.harmonisation.get("tables"))


def _images_are_windowed(settings: RecordedSettings) -> bool:
    windowed = settings.radiomics.get("window") and "radiomics" in settings.base_models
    return bool(windowed) or models(*NETWORKS)(settings)


def _labels(names: Sequence[str]) -> str:
    return labels_of(names) or "none"


def _of_models(options: dict[str, dict[str, Any]]) -> str:
    return "; ".join(
        f"{label_of(name)}, {words.humanise(key).lower()}: {json.dumps(value)}"
        for name, own in options.items()
        for key, value in own.items()
    )


def _named(labels: dict[str, str]) -> Callable[[Sequence[str]], str]:
    def show(names: Sequence[str]) -> str:
        return ", ".join(labels.get(name, words.humanise(name)) for name in names) or "none"

    return show


def _comparison(primary: Mapping[str, str]) -> str:
    if not primary:
        return "none declared"
    pair = " against ".join(label_of(primary[name]) for name in ("model_a", "model_b"))
    return f"{pair}, {set_label(primary['set']).lower()}"


def _grid(count: int, low: float, high: float) -> str:
    return f"{count} from {10**low:g} to {10**high:g}"


STUDY = (
    Choice("Base models", ("base_models",), PAPER, _labels),
    Choice(
        "Fusion models",
        ("fusion_models",),
        PAPER,
        _labels,
        counts=models(*FUSION_MODELS),
    ),
    Choice(
        "Settings of further models",
        ("model_options",),
        ADDED,
        _of_models,
        counts=lambda settings: bool(settings.model_options),
    ),
    Choice("Folds of the cross-validation", ("folds",), PAPER),
    Choice(
        "Subgroups by",
        ("strata",),
        OPEN,
        _named({}),
        counts=lambda settings: bool(settings.strata),
    ),
)

IMAGING = (
    Choice(
        "Window", ("window", "level"), PAPER, lambda w, c: f"{w:g} HU wide, centred on {c:g} HU"
    ),
    Choice("Voxels", ("spacing_mm",), PAPER, lambda mm: f"{mm:g} mm, cubic"),
    Choice(
        "Order",
        ("order",),
        PAPER,
        lambda order: {
            "window_first": "window, then resampling; clipped again after it",
            "resample_first": "resampling, then window",
        }[order],
    ),
    Choice(
        "2D crops",
        ("crop2d_size", "crop2d_slices_each_side"),
        PAPER,
        lambda size, n: f"{size} by {size}, the largest section and up to {n} on each side",
        counts=models(*networks_seeing(2)),
    ),
    Choice(
        "3D crops",
        ("crop3d_size",),
        PAPER,
        lambda n: f"{n} by {n} by {n}",
        counts=models(*networks_seeing(3)),
    ),
)

INTERPOLATION = (
    Choice("Interpolation of images", ("image",), PAPER),
    Choice("Interpolation of the ROI", ("roi",), OPEN),
    Choice("Interpolation of crops", ("crops",), PAPER, counts=models(*NETWORKS)),
)

RADIOMICS = (
    Choice("Settings file", ("settings",), OPEN, remark="in full below"),
    Choice("Number of features", ("expected_features",), PAPER),
    Choice(
        "Computed on",
        ("window",),
        OPEN,
        lambda window: "the windowed image" if window else "all HU",
        paper="the windowed image",
        is_papers=bool,
    ),
)

_BATCHES = {"hospital": "hospital", "scanner": "scanner of a hospital"}
_UNSEEN = {
    "reference": "left as they are",
    "own": "harmonised by their own estimates, without labels",
}
HARMONISATION = (
    Choice("Harmonised (ComBat)", ("tables",), ADDED, _named({"deep": "network features"})),
    Choice("Kept is what is explained by", ("covariates",), ADDED, _named({})),
    Choice("Batch", ("batch",), ADDED, lambda batch: _BATCHES[batch]),
    Choice("Patients of a batch, at least", ("min_batch",), ADDED),
    Choice(
        "Patients of batches without training patients",
        ("unseen",),
        ADDED,
        lambda unseen: _UNSEEN[unseen],
    ),
)

_OF_NETWORKS = {
    "off": "none",
    "show": "shown beside the network's own probability",
    "use": "a machine on what it keeps gives the probability",
}
SELECTION = (
    Choice(
        "Largest rank correlation of two features",
        ("spearman_threshold",),
        PAPER,
        counts=selected("radiomics", "fusion_feature"),
    ),
    Choice(
        "Cells a feature for ranks over hospitals",
        ("spearman_bins",),
        ADDED,
        counts=selected("radiomics", "fusion_feature"),
    ),
    Choice("Repeatability (ICC) above", ("icc_threshold",), PAPER, counts=models("radiomics")),
    Choice(
        "Limit of z-scores and normal scores",
        ("clip",),
        ADDED,
        lambda limit: f"±{limit:g}",
        counts=guarded,
    ),
    Choice(
        "LASSO penalties compared",
        ("lasso_alphas", "lasso_log10_min", "lasso_log10_max"),
        OPEN,
        _grid,
    ),
    Choice(
        "Features used where the LASSO keeps none",
        ("lasso_fallback",),
        OPEN,
        lambda n: f"the {n} closest to the label",
    ),
    Choice(
        "Column that says who lacks a variable, where a hospital lacks it altogether",
        ("missing_indicators",),
        ADDED,
    ),
    Choice(
        "Principal components of a network, at most",
        ("pca_components",),
        PAPER,
        counts=networks_read,
    ),
    Choice(
        "LASSO on the features of each network",
        ("networks",),
        PAPER,
        lambda chosen: _OF_NETWORKS[chosen],
        counts=models(*NETWORKS),
        paper=f"{_OF_NETWORKS['show']} (Fig. S1)",
        is_papers=lambda chosen: chosen == "show",
    ),
)

_RBF = _block_is("svm", "kernel", "rbf")
SVM = (
    Choice("Kernel", ("kernel",), OPEN),
    Choice("Costs compared", ("costs",), OPEN),
    Choice("Kernel widths compared, times scikit-learn's", ("gammas",), ADDED, counts=_RBF),
    Choice("Synthetic landmarks of the kernel", ("landmarks",), ADDED, counts=_RBF),
    Choice(
        "Solver stops",
        ("tolerance", "max_rounds"),
        ADDED,
        lambda tolerance, rounds: f"at a tolerance of {tolerance:g}, or after {rounds} rounds",
    ),
)

_STACKERS = {**words.STACKER_LABELS, "best": "the best in cross-validation"}
_BINS = _block_is("fusion", "pooling", "bins")
_ROWS = _block_is("fusion", "pooling", "rows")
FUSION = (
    Choice("Stacker used", ("stacker",), PAPER, lambda name: _STACKERS[name]),
    Choice(
        "Stackers compared",
        ("candidates",),
        PAPER,
        _named(_STACKERS),
        counts=_ROWS,
    ),
    Choice("Trees of the forest", ("trees",), OPEN),
    Choice("Forest never says less where a base model says more", ("monotone",), ADDED),
    Choice(
        "The stacker learns from",
        ("pooling",),
        PAPER,
        lambda pooling: {
            "rows": "rows of out-of-fold probabilities",
            "bins": "summed counts in bins",
        }[pooling],
    ),
    Choice("Bins a model", ("bins",), ADDED, counts=_BINS),
    Choice("Decimals of a pooled probability", ("row_decimals",), ADDED, counts=_ROWS),
)

PRIVACY = (
    Choice(
        "Mode",
        ("mode",),
        ADDED,
        lambda mode: {
            "guarded": "guarded: normal scores and limits before matrices",
            "faithful": "faithful: values as they are",
        }[mode],
    ),
    Choice(
        "Masks over sums and weights",
        ("masking",),
        ADDED,
        lambda masking: {
            "required": "required",
            "where_possible": "where three sites or more add up",
            "off": "off",
        }[masking],
    ),
    Choice("Fewest patients of a hospital", ("min_rows",), ADDED),
    Choice("... of either outcome", ("min_per_class",), ADDED),
    Choice("... in a fold", ("min_rows_per_fold",), ADDED),
    Choice("... of either outcome in a fold", ("min_class_per_fold",), ADDED),
    Choice("... for out-of-fold rows", ("min_oof_rows",), ADDED),
    Choice("Fewest patients in a cell of a table", ("min_cell",), ADDED),
    Choice("... in a cell of ranks", ("min_rank_cell",), ADDED),
    Choice("... of other hospitals in a cell of ranks", ("min_rank_others",), ADDED),
    Choice("... in whom a column differs", ("min_category",), ADDED),
    Choice("... of a hospital, with costs above 1", ("min_rows_weak_penalty",), ADDED),
    Choice("Most rounds of a support vector machine", ("max_svm_rounds",), ADDED),
    Choice("Most levels of a tree from counts", ("max_tree_depth",), ADDED, counts=_BINS),
    Choice("Most columns of a matrix without normal scores", ("max_plain_columns",), ADDED),
    Choice("Most releases of one kind with other models", ("max_releases",), ADDED),
    Choice("Largest share of patients with one fitting row", ("max_unique_rows",), ADDED),
    Choice("Most rounds that go on without one or two hospitals", ("max_departures",), ADDED),
    Choice(
        "Hospitals with which each shares its masks",
        ("mask_neighbours",),
        ADDED,
        lambda degree: f"{degree}, or all of fewer",
    ),
    Choice("Most refused questions a hospital bears", ("max_refusals",), ADDED),
)

NOISE = (
    Choice(
        "Noise multiplier",
        ("noise_multiplier",),
        ADDED,
        lambda noise: f"{noise:g}" if noise else "off",
    ),
    Choice("Largest norm of a patient's gradient", ("max_gradient_norm",), ADDED, counts=_private),
    Choice("Delta", ("delta",), ADDED, counts=_private),
)

QUORUM = (
    Choice(
        "Training hospitals that a round needs",
        ("quorum",),
        ADDED,
        lambda quorum: str(quorum) if quorum else "all",
    ),
    Choice(
        "Wait for the others after these",
        ("patience",),
        ADDED,
        words.duration,
        counts=lambda study: bool(study.training.get("quorum")),
    ),
)

ANALYSIS = (
    Choice(
        "Thresholds of the decision curves",
        ("thresholds",),
        ADDED,
        lambda ends: f"{100 * ends[0]:g} to {100 * ends[1]:g} %",
    ),
    Choice("Primary comparison", ("primary",), ADDED, _comparison),
)

WAITING = tuple(
    Choice(f"Longest wait for {what}", (f"{name}_seconds",), ADDED, words.duration)
    for what, name in (("enrolment", "enrol"), ("a sum", "sum"), ("a round of training", "train"))
)

GROUPS = (
    Group("Models and validation", "", STUDY),
    Group("Preparation of images", "imaging", IMAGING, _images_are_windowed),
    Group("Interpolation", "interpolation", INTERPOLATION, models("radiomics", *NETWORKS)),
    Group("Radiomics features", "radiomics", RADIOMICS, models("radiomics")),
    Group("Harmonisation", "harmonisation", HARMONISATION, _harmonised),
    Group(
        "Selection of features",
        "selection",
        SELECTION,
        selected("clinical", "radiomics", "fusion_feature"),
    ),
    Group("Support vector machines", "svm", SVM, machines),
    *(Group(MODELS[name].short, name, network_choices(name), models(name)) for name in NETWORKS),
    Group(
        "Decision fusion",
        "fusion",
        FUSION,
        lambda settings: models("fusion_decision")(settings) and not settings.follow_up,
    ),
    Group("Privacy", "privacy", PRIVACY),
    Group("Differential privacy", "differential_privacy", NOISE, models(*NETWORKS)),
    Group("Rounds of training", "training", QUORUM, models(*NETWORKS)),
    Group("Analysis", "analysis", ANALYSIS),
    Group("Waiting", "waiting", WAITING),
)
