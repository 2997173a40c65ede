"""All choices of a study, group by group: what each is called, and where its default comes from.

The paper is Wang et al., eClinicalMedicine 2024;67:102385; docs/paper.md says the same at length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from common.models import FUSION_MODELS
from server.report import words
from server.report.choice import Choice, Origin, always
from server.report.choices_networks import network_choices
from server.report.schema_settings import RecordedSettings

PAPER, OPEN, ADDED = Origin.PAPER, Origin.OPEN, Origin.ADDED


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
    """Whether a study has any of these models."""
    return lambda settings: bool({*settings.base_models, *settings.fusion_models} & set(names))


def networks_fused(settings: RecordedSettings) -> bool:
    """Whether network features enter a linear model."""
    return models("dl2d", "dl3d")(settings) and "fusion_feature" in settings.fusion_models


def guarded(settings: RecordedSettings) -> bool:
    """Whether values are limited before matrices are made of them."""
    return settings.privacy.get("mode") == "guarded"


def _block_is(block: str, key: str, value: Any) -> Callable[[RecordedSettings], bool]:
    return lambda settings: getattr(settings, block).get(key) == value


def _private(settings: RecordedSettings) -> bool:
    return bool(settings.differential_privacy.get("noise_multiplier"))


def _images_are_windowed(settings: RecordedSettings) -> bool:
    windowed = settings.radiomics.get("window") and "radiomics" in settings.base_models
    return bool(windowed) or models("dl2d", "dl3d")(settings)


def _named(labels: dict[str, str]) -> Callable[[Sequence[str]], str]:
    def show(names: Sequence[str]) -> str:
        return ", ".join(labels.get(name, words.humanise(name)) for name in names) or "none"

    return show


def _grid(count: int, low: float, high: float) -> str:
    return f"{count} from {10**low:g} to {10**high:g}"


STUDY = (
    Choice("Base models", ("base_models",), PAPER, _named(words.MODEL_LABELS)),
    Choice(
        "Fusion models",
        ("fusion_models",),
        PAPER,
        _named(words.MODEL_LABELS),
        counts=models(*FUSION_MODELS),
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
        counts=models("dl2d"),
    ),
    Choice(
        "3D crops", ("crop3d_size",), PAPER, lambda n: f"{n} by {n} by {n}", counts=models("dl3d")
    ),
)

INTERPOLATION = (
    Choice("Interpolation of images", ("image",), PAPER),
    Choice("Interpolation of the ROI", ("roi",), OPEN),
    Choice("Interpolation of crops", ("crops",), PAPER, counts=models("dl2d", "dl3d")),
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

SELECTION = (
    Choice(
        "Largest rank correlation of two features",
        ("spearman_threshold",),
        PAPER,
        counts=models("radiomics", "fusion_feature"),
    ),
    Choice(
        "Cells a feature for ranks over hospitals",
        ("spearman_bins",),
        ADDED,
        counts=models("radiomics", "fusion_feature"),
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
        "Principal components of a network, at most",
        ("pca_components",),
        PAPER,
        counts=networks_fused,
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
FUSION = (
    Choice("Stacker used", ("stacker",), PAPER, lambda name: _STACKERS[name]),
    Choice(
        "Stackers compared",
        ("candidates",),
        PAPER,
        _named(_STACKERS),
        counts=_block_is("fusion", "pooling", "rows"),
    ),
    Choice("Trees of the forest", ("trees",), OPEN),
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

WAITING = tuple(
    Choice(f"Longest wait for {what}", (f"{name}_seconds",), ADDED, words.duration)
    for what, name in (("enrolment", "enrol"), ("a sum", "sum"), ("a round of training", "train"))
)

GROUPS = (
    Group("Models and validation", "", STUDY),
    Group("Preparation of images", "imaging", IMAGING, _images_are_windowed),
    Group("Interpolation", "interpolation", INTERPOLATION, models("radiomics", "dl2d", "dl3d")),
    Group("Radiomics features", "radiomics", RADIOMICS, models("radiomics")),
    Group(
        "Selection of features",
        "selection",
        SELECTION,
        models("clinical", "radiomics", "fusion_feature"),
    ),
    Group("Support vector machines", "svm", SVM, models("clinical", "radiomics", "fusion_feature")),
    Group("2D network", "dl2d", network_choices("dl2d"), models("dl2d")),
    Group("3D network", "dl3d", network_choices("dl3d"), models("dl3d")),
    Group("Decision fusion", "fusion", FUSION, models("fusion_decision")),
    Group("Privacy", "privacy", PRIVACY),
    Group("Differential privacy", "differential_privacy", NOISE, models("dl2d", "dl3d")),
    Group("Waiting", "waiting", WAITING),
)
