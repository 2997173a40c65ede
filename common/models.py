"""Registry of the six models: their names, their labels, and what each network looks at."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, get_args

NetworkName = Literal["dl2d", "dl3d"]
BaseModelName = Literal["clinical", "radiomics", "dl2d", "dl3d"]
FusionModelName = Literal["fusion_feature", "fusion_decision"]
BASE_MODELS: tuple[BaseModelName, ...] = get_args(BaseModelName)
FUSION_MODELS: tuple[FusionModelName, ...] = get_args(FusionModelName)


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


TORCHVISION = NetworkInput(2, 3, "torchvision ResNet", dropped="fc.")
MEDICALNET = NetworkInput(
    3, 1, "MedicalNet ResNet", entry="state_dict", prefix="module.", dropped="conv_seg."
)
MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("clinical", "Clinical", "clinical model", looks_at="clinical data"),
        ModelSpec("radiomics", "Radiomics", "radiomics model", looks_at="texture and shape in CT"),
        ModelSpec("dl2d", "2D deep learning", "2D network", TORCHVISION, "axial slices"),
        ModelSpec("dl3d", "3D deep learning", "3D network", MEDICALNET, "the whole volume"),
        ModelSpec(
            "fusion_feature",
            "Feature fusion",
            "feature-level fusion",
            looks_at="inputs of those above",
        ),
        ModelSpec(
            "fusion_decision",
            "Decision fusion",
            "decision-level fusion",
            looks_at="answers of the first four",
        ),
    )
}
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)


def networks_among(names: Collection[str]) -> tuple[NetworkName, ...]:
    """Return the networks among these models, in the order of the registry.

    >>> networks_among(("dl3d", "clinical"))
    ('dl3d',)
    """
    return tuple(name for name in NETWORKS if name in names)


def networks_seeing(dimensions: int) -> tuple[NetworkName, ...]:
    """Return the networks that look at images of so many dimensions.

    >>> networks_seeing(3)
    ('dl3d',)
    """
    return tuple(name for name in NETWORKS if network_input(name).dimensions == dimensions)


def network_name(name: str) -> NetworkName:
    """Return a network's name as such; raise ValueError for any other model or text."""
    for known in NETWORKS:
        if name == known:
            return known
    raise ValueError("unknown network")


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
