"""Registry of models: names, labels, what each reads, and how it may end in a released form.

The paper's six are known at once. Another one is a file of `server.phases`, which is found when a
study names it; that package builds on this one, so nothing is imported from it here.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated

from pydantic import AfterValidator

from common.study.block import Settings
from common.utils.text_file import on_one_line

PACKAGE = "server.phases"


@dataclass(frozen=True)
class NetworkInput:
    """Images that a network takes, and the pretrained weights that fit it.

    Parameters
    ----------
    dimensions : of one image, 2 or 3.
    channels : of one image.
    pretrained : family of public weights with the same layout.
    entry : key of the state dict inside a file of such weights; empty where the file is one.
    prefix : put before every name by the parallel training that made the file.
    dropped : prefix of the layers that are not loaded, the public classifier's head.
    """

    dimensions: int
    channels: int
    pretrained: str
    entry: str = ""
    prefix: str = ""
    dropped: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """One model of the study.

    Parameters
    ----------
    name : in study files, messages and results.
    label : in reports and figures.
    short : in progress lines and documents for privacy review.
    network : set for models that are networks; their settings are the study's block of that name.
    looks_at : on the page of a prediction.
    tables : base tables of the sites that it reads; empty for a fusion, which reads other models.
    machines : it fits support vector machines over the sites.
    times : it can be fitted to a time to event as well.
    decided_by : classes of the steps that may give the decision value before its probability.
    options : the study's table `model_options.NAME`, where the model has settings of its own.

    Examples
    --------
    >>> MODELS["dl3d"].label, MODELS["dl3d"].network.dimensions
    ('3D deep learning', 3)
    """

    name: str
    label: str
    short: str
    network: NetworkInput | None = None
    looks_at: str = ""
    tables: tuple[str, ...] = ()
    machines: bool = False
    times: bool = False
    decided_by: tuple[str, ...] = ("Linear",)
    options: type[Settings] = Settings

    @property
    def fuses(self) -> bool:
        """True where it is a fusion of other models."""
        return not self.tables


TORCHVISION = NetworkInput(2, 3, "torchvision ResNet", dropped="fc.")
MEDICALNET = NetworkInput(
    3, 1, "MedicalNet ResNet", entry="state_dict", prefix="module.", dropped="conv_seg."
)
MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "clinical",
            "Clinical",
            "clinical model",
            looks_at="clinical data",
            tables=("clinical",),
            machines=True,
            times=True,
        ),
        ModelSpec(
            "radiomics",
            "Radiomics",
            "radiomics model",
            looks_at="texture and shape in CT",
            tables=("radiomics",),
            machines=True,
            times=True,
        ),
        ModelSpec(
            "dl2d",
            "2D deep learning",
            "2D network",
            TORCHVISION,
            looks_at="axial slices",
            tables=("dl2d",),
            times=True,
        ),
        ModelSpec(
            "dl3d",
            "3D deep learning",
            "3D network",
            MEDICALNET,
            looks_at="the whole volume",
            tables=("dl3d",),
            times=True,
        ),
        ModelSpec(
            "fusion_feature",
            "Feature fusion",
            "feature-level fusion",
            looks_at="inputs of those above",
            machines=True,
            times=True,
        ),
        ModelSpec(
            "fusion_decision",
            "Decision fusion",
            "decision-level fusion",
            looks_at="answers of the first four",
            times=True,
        ),
    )
}
BASE_MODELS = tuple(name for name, spec in MODELS.items() if not spec.fuses)
FUSION_MODELS = tuple(name for name, spec in MODELS.items() if spec.fuses)
NETWORKS = tuple(name for name, spec in MODELS.items() if spec.network)
"""The paper's, which a study trains unless it says otherwise; networks have blocks of their own."""


def find_model(name: str) -> ModelSpec:
    """Return the model of this name.

    Raises
    ------
    ValueError : no file of `server.phases` has one of that name; lists those there are.
    """
    if name not in MODELS:
        load_models()
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        text = on_one_line(name)
        raise ValueError(f'unknown model "{text}"{hint}; the models are {", ".join(MODELS)}')
    return MODELS[name]


def load_models() -> None:
    """Import every phase, and with it the models that it declares."""
    for module in pkgutil.iter_modules(import_module(PACKAGE).__path__):
        import_module(f"{PACKAGE}.{module.name}")


def _model(name: str) -> str:
    return find_model(name).name


def _base_model(name: str) -> str:
    if find_model(name).fuses:
        raise ValueError(f'"{name}" fuses other models: name it among fusion_models')
    return name


def _fusion_model(name: str) -> str:
    if not find_model(name).fuses:
        raise ValueError(f'"{name}" fuses no other models: name it among base_models')
    return name


NetworkName = str
ModelName = Annotated[str, AfterValidator(_model)]
BaseModelName = Annotated[str, AfterValidator(_base_model)]
FusionModelName = Annotated[str, AfterValidator(_fusion_model)]


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Return known models in the order in which they are fitted and listed, base models first.

    >>> in_order(("fusion_decision", "dl3d", "clinical"))
    ('clinical', 'dl3d', 'fusion_decision')
    """
    ordered = sorted(MODELS.values(), key=lambda spec: spec.fuses)
    return tuple(spec.name for spec in ordered if spec.name in names)


def networks_seeing(dimensions: int) -> tuple[NetworkName, ...]:
    """Return the networks that look at images of so many dimensions.

    >>> networks_seeing(3)
    ('dl3d',)
    """
    kinds = {name: spec.network for name, spec in MODELS.items()}
    return tuple(name for name, seen in kinds.items() if seen and seen.dimensions == dimensions)


def network_name(name: str) -> NetworkName:
    """Return a network's name as such; raise ValueError for any other model or text."""
    if name not in MODELS or MODELS[name].network is None:
        raise ValueError("unknown network")
    return name


def network_input(name: str) -> NetworkInput:
    """Return what a network looks at; raise KeyError for a name that is no network's."""
    found = MODELS[name].network
    if found is None:
        raise KeyError(name)
    return found


def label_of(name: str) -> str:
    """Return a model's label; that of an unknown one is its name."""
    return MODELS[name].label if name in MODELS else name


def labels_of(names: Iterable[str]) -> str:
    """Return several labels with commas.

    >>> labels_of(("clinical", "dl2d"))
    'Clinical, 2D deep learning'
    """
    return ", ".join(map(label_of, names))
