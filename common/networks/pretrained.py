"""Pretrained weights from a local file: torchvision's in 2D, MedicalNet's in 3D."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from common.networks.resnet import Kind, ScoringNetwork

_SOURCE: dict[Kind, str] = {"dl2d": "torchvision ResNet", "dl3d": "MedicalNet ResNet"}


def load_pretrained(model: ScoringNetwork, kind: Kind, path: Path, sha256: str) -> str:
    """Load a backbone's weights; the head keeps its random initialisation.

    Parameters
    ----------
    path : `resnet50-*.pth` of torchvision (2D; `fc.*` is dropped) or `resnet_50_23dataset.pth` of
        MedicalNet (3D; the `state_dict` entry, `module.` stripped, `conv_seg.*` dropped).
    sha256 : expected digest of the file, hex.

    Returns
    -------
    A sentence for the report.

    Raises
    ------
    InputError : the file is missing, has another digest, is not a file of plain tensors, or does
        not fit the backbone entry for entry.
    """
    where = str(path)
    if not path.is_file():
        raise InputError("no such file", where=where, remedy="give the path of the weights")
    digest = _digest(path)
    if digest != sha256.strip().lower():
        raise InputError(
            f"SHA-256 is {digest}, the study says {sha256 or 'nothing'}",
            where=where,
            remedy="get the file the study names, or correct pretrained_sha256",
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot be read as plain weights: {first_line}",
            where=where,
            remedy="save a state dict of tensors and nothing else",
        ) from None
    entries = _backbone_entries(content, kind, where)
    _check_fit(model, entries, kind, where)
    model.backbone.load_state_dict(entries, strict=True)
    return (
        f"{kind}: backbone started from {_SOURCE[kind]} weights, {len(entries)} entries of "
        f"{path.name} (SHA-256 {digest[:12]}); the head was drawn at random."
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _backbone_entries(content: Any, kind: Kind, where: str) -> dict[str, torch.Tensor]:
    if kind == "dl3d" and isinstance(content, dict):
        content = content.get("state_dict")
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        expected = "a `state_dict` entry" if kind == "dl3d" else "a state dict"
        raise InputError(
            f"does not hold {expected} of tensors",
            where=where,
            remedy=f"use a file of {_SOURCE[kind]} weights",
        )
    if kind == "dl3d":
        content = {key.removeprefix("module."): value for key, value in content.items()}
    dropped = "conv_seg." if kind == "dl3d" else "fc."
    return {key: value for key, value in content.items() if not key.startswith(dropped)}


def _check_fit(
    model: ScoringNetwork, entries: dict[str, torch.Tensor], kind: Kind, where: str
) -> None:
    wanted = model.backbone.state_dict()
    problems = [f"{key} is missing" for key in wanted if key not in entries]
    problems += [f"{key} is not in the network" for key in entries if key not in wanted]
    problems += [
        f"{key} has shape {tuple(entries[key].shape)}, the network {tuple(wanted[key].shape)}"
        for key in wanted
        if key in entries and entries[key].shape != wanted[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(
            f"does not fit the network: {'; '.join(problems[:3])}{more}",
            where=where,
            remedy=f"make block, layers, widths, norm and stem of [{kind}] those of the file",
        )
