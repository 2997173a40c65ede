"""Initial weights of a network: pretrained where the study names them, else random."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from common.errors import InputError
from common.models import NetworkName, network_input
from common.networks.resnet import ScoringNetwork, build_network
from common.study.networks import NetworkSettings

_COUNTER = "num_batches_tracked"

Entries = dict[str, torch.Tensor]


def load_pretrained(model: ScoringNetwork, kind: NetworkName, path: Path, sha256: str) -> str:
    """Load a backbone's weights; the head keeps its initial ones.

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
    content, digest = _read(path, sha256)
    entries = _backbone_entries(content, kind, where)
    _add_counters(entries, model)
    _check_fit(model, entries, kind, where)
    model.backbone.load_state_dict(entries, strict=True)
    return (
        f"{kind}: backbone started from {network_input(kind).pretrained}"
        f" weights, all {len(entries)} entries from "
        f"{path.name} (SHA-256 {digest[:12]}); only the last layer is new"
    )


def _read(path: Path, sha256: str) -> tuple[Any, str]:
    """Read content and digest of a file; nothing is unpacked before the digest matches."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256.strip().lower():
            raise InputError(
                f"SHA-256 is {digest}, the study says {sha256 or 'nothing'}",
                where=str(path),
                remedy="get the file the study names, or correct pretrained_sha256",
            )
        file.seek(0)
        try:
            return torch.load(file, map_location="cpu", weights_only=True), digest
        except Exception as error:  # a file that is no checkpoint may raise anything
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"cannot be read as plain weights: {first_line}",
                where=str(path),
                remedy="save a state dict of tensors and nothing else",
            ) from None


def _backbone_entries(content: Any, kind: NetworkName, where: str) -> Entries:
    public = network_input(kind)
    if public.entry and isinstance(content, dict):
        content = content.get(public.entry)
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        expected = f"a `{public.entry}` entry" if public.entry else "a state dict"
        raise InputError(
            f"does not hold {expected} of tensors",
            where=where,
            remedy=f"use a file of {public.pretrained} weights",
        )
    content = {key.removeprefix(public.prefix): value for key, value in content.items()}
    return {key: value for key, value in content.items() if not key.startswith(public.dropped)}


def _add_counters(entries: Entries, model: ScoringNetwork) -> None:
    """Add zero counters: files from before torch 0.4.1 do not count batches."""
    if not any(key.endswith(_COUNTER) for key in entries):
        counters = {k: v for k, v in model.backbone.state_dict().items() if k.endswith(_COUNTER)}
        entries.update({key: torch.zeros_like(value) for key, value in counters.items()})


def _check_fit(model: ScoringNetwork, entries: Entries, kind: NetworkName, where: str) -> None:
    wanted = model.backbone.state_dict()
    problems = [f"{key} is missing" for key in wanted if key not in entries]
    problems += [f"{key} is not in the network" for key in entries if key not in wanted]
    for key in (key for key in wanted if key in entries):
        value = entries[key]
        if value.shape != wanted[key].shape:
            shapes = f"{tuple(value.shape)}, the network {tuple(wanted[key].shape)}"
            problems.append(f"{key} has shape {shapes}")
        elif value.is_floating_point() != wanted[key].is_floating_point():
            problems.append(f"{key} holds {value.dtype}, the network {wanted[key].dtype}")
        elif not value.isfinite().all():
            problems.append(f"{key} holds numbers that are not finite")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(
            f"does not fit the network: {'; '.join(problems[:3])}{more}",
            where=where,
            remedy=f"make block, layers, widths, shortcut, norm and stem of [{kind}] those of the"
            " file, or get the file anew",
        )


def initial_network(
    kind: NetworkName, settings: NetworkSettings, seed: int, outputs: int = 1
) -> tuple[ScoringNetwork, str]:
    """Return the untrained network, and a sentence for the report on its initial weights.

    Raises
    ------
    InputError : pretrained weights that are missing, changed or do not fit.
    """
    network = build_network(kind, settings, seed, outputs)
    if not settings.pretrained:
        return network, "the network started from random weights, not from pretrained ones"
    path = Path(settings.pretrained)
    return network, load_pretrained(network, kind, path, settings.pretrained_sha256)
