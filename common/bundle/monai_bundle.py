"""The networks of a bundle as MONAI bundles, which load without this project.

The network is stored as TorchScript: its padded shortcuts and dilated stages are not MONAI's own,
so that no configuration of MONAI's classes alone would give the same numbers.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from common.bundle.bundle import Bundle
from common.models import MODELS, network_input, network_name
from common.study.model import Study

MODEL, FOLDER = "model.ts", "models"
README = """\
# {title}

Network `{name}` of the federated study "{study}", which predicts {endpoint}. Research use only.

`models/model.ts` is TorchScript: `monai.bundle.load(name, bundle_dir=..., load_ts_module=True)`, or
`torch.jit.load`. It takes crops of shape (n, {channels}, {size}), windowed to {window:g} HU around
{level:g} and scaled to [0, 1] at {spacing:g} mm, and returns features (n, width) and {answer}.
"""


PROBABILITY = """\
logits (n,).
The probability of a patient is the mean of the sigmoid over the patient's crops"""
HAZARDS = """\
logits (n, {periods}) of the hazard in each period.
The risk of a patient by the end of period {horizon} is one less the product of (1 - sigmoid) over
the first {horizon} periods, in the mean of the patient's crops. These hazards are not calibrated:
the study's bundle scales them by a Cox model on patients that the network has not seen"""


def write_monai_bundles(bundle: Bundle, study: Study, folder: Path) -> list[Path]:
    """Write a MONAI bundle for every network into folders of their names; return these."""
    written = []
    for name, weights in bundle.networks.items():
        about = metadata_of(name, bundle, study)  # ValueError of a name that is no network's
        own = folder / name
        for part in ("configs", FOLDER, "docs"):
            (own / part).mkdir(parents=True, exist_ok=True)
        _write_network(own / FOLDER / MODEL, name, weights, study, about)
        text = json.dumps(about, indent=1)
        (own / "configs" / "metadata.json").write_text(text + "\n", encoding="utf-8")
        (own / "docs" / "README.md").write_text(_readme(name, study), encoding="utf-8")
        written.append(own)
    return written


def metadata_of(name: str, bundle: Bundle, study: Study) -> dict[str, Any]:
    """Return the metadata that MONAI's bundle specification asks for."""
    seen = network_input(network_name(name))
    size = study.network(network_name(name)).input_size
    shape = [size] * seen.dimensions
    image = {
        "type": "image",
        "format": "hounsfield",
        "modality": "CT",
        "num_channels": seen.channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": {str(i): "CT" for i in range(seen.channels)},
    }
    said = ["logit"]
    if study.follow_up is not None:
        said = [f"logit of the hazard in period {i + 1}" for i in range(study.network_outputs)]
    channels = {str(i): f"{one} of {study.endpoint}" for i, one in enumerate(said)}
    logit = {
        "type": "probabilities",
        "format": "classification",
        "num_channels": study.network_outputs,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": True,
        "channel_def": channels,
    }
    return {
        "version": "0.1.0",
        "changelog": {"0.1.0": f"study {bundle.study[:16]}"},
        "monai_version": metadata.version("monai"),
        "pytorch_version": metadata.version("torch").split("+")[0],
        "numpy_version": metadata.version("numpy"),
        "required_packages_version": {},
        "task": f"Prediction of {study.endpoint}",
        "description": f"{MODELS[name].label} of the federated study {study.name}. Research use"
        " only, not a medical device.",
        "authors": "hospitals of the study",
        "copyright": "see the study",
        "data_type": "CT",
        "intended_use": "research only",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": logit}},
    }


def _write_network(
    path: Path, name: str, weights: Any, study: Study, about: dict[str, Any]
) -> None:
    import torch
    from monai.data.torchscript_utils import save_net_with_metadata

    from common.networks.resnet import network_with

    kind = network_name(name)
    seen, size = network_input(kind), study.network(kind).input_size
    outputs = study.network_outputs
    network = network_with(np.asarray(weights), kind, study.network(kind), outputs).eval()
    crop = torch.zeros((2, seen.channels, *([size] * seen.dimensions)))
    with torch.no_grad():
        traced = torch.jit.trace(network, crop)  # type: ignore[no-untyped-call]
    # monai.bundle.load wants the metadata inside, too
    save_net_with_metadata(traced, str(path.with_suffix("")), meta_values=about)


def _readme(name: str, study: Study) -> str:
    seen = network_input(network_name(name))
    size = study.network(network_name(name)).input_size
    answer, grid = PROBABILITY, study.follow_up
    if grid is not None:
        horizon = grid.last_periods[0] + 1
        answer = HAZARDS.format(periods=grid.periods, horizon=horizon)
    return README.format(
        answer=answer,
        title=MODELS[name].label,
        name=name,
        study=study.name,
        endpoint=study.endpoint,
        channels=seen.channels,
        size=", ".join([str(size)] * seen.dimensions),
        window=study.imaging.window,
        level=study.imaging.level,
        spacing=study.imaging.spacing_mm,
    )
