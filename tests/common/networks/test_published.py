"""Weights of torchvision and MedicalNet load whole, by their names and shapes; others do not."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InputError
from common.models import NetworkName
from common.networks.initial import load_pretrained
from common.networks.resnet import ScoringNetwork, build_network
from common.study.networks import NetworkSettings

SMALLEST: dict[NetworkName, str] = {"dl2d": "torchvision_resnet50", "dl3d": "medicalnet_resnet_10"}
KINDS: tuple[NetworkName, ...] = ("dl2d", "dl3d")
LISTS = Path(__file__).parent / "published"
BASIC: dict[str, Any] = {"block": "basic"}
NETWORKS: dict[str, tuple[NetworkName, NetworkSettings]] = {
    "torchvision_resnet50": ("dl2d", NetworkSettings()),
    "medicalnet_resnet_10": ("dl3d", NetworkSettings(**BASIC, layers=(1, 1, 1, 1))),
    "medicalnet_resnet_18": ("dl3d", NetworkSettings(**BASIC, layers=(2, 2, 2, 2), shortcut="A")),
    "medicalnet_resnet_34": ("dl3d", NetworkSettings(**BASIC, layers=(3, 4, 6, 3), shortcut="A")),
    "medicalnet_resnet_50": ("dl3d", NetworkSettings()),
}


def listed(name: str) -> dict[str, tuple[int, ...]]:
    """Shape by name, as the publisher's own code gives them (see the head of each list)."""
    lines = (LISTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs = (line.split() for line in lines)
    return {key: () if shape == "-" else tuple(map(int, shape.split("x"))) for key, shape in pairs}


def entries(name: str) -> dict[str, torch.Tensor]:
    """A state dict of these names and shapes: all of the i-th entry is i."""
    shapes = listed(name)
    counters = {key for key, shape in shapes.items() if shape == ()}
    return {
        key: torch.full((1,), i, dtype=torch.int64 if key in counters else torch.float32).expand(
            shape
        )
        if shape
        else torch.tensor(i)
        for i, (key, shape) in enumerate(shapes.items())
    }


def packed(kind: NetworkName, state: dict[str, Any]) -> dict[str, Any]:
    """Wrap a state dict like its publisher: torchvision not at all, MedicalNet in a dict."""
    return state if kind == "dl2d" else {"epoch": 1, "batch_id": 0, "state_dict": state}


def saved(path: Path, content: Any, **how: Any) -> tuple[Path, str]:
    """The path of a file made by torch, and its SHA-256."""
    torch.save(content, path, **how)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def network(name: str) -> tuple[NetworkName, ScoringNetwork]:
    kind, settings = NETWORKS[name]
    return kind, build_network(kind, settings, seed=0)


def refused(tmp_path: Path, kind: NetworkName, state: dict[str, Any]) -> str:
    path, digest = saved(tmp_path / "weights.pth", packed(kind, state))
    with pytest.raises(InputError) as caught:
        load_pretrained(network(SMALLEST[kind])[1], kind, path, digest)
    return str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_published_weights_fill_every_entry(name: str, tmp_path: Path) -> None:
    kind, model = network(name)
    state = entries(name)
    path, digest = saved(tmp_path / f"{name}.pth", packed(kind, state))
    sentence = load_pretrained(model, kind, path, digest)
    prefix = "module." if kind == "dl3d" else ""
    loaded = {prefix + key: value for key, value in model.backbone.state_dict().items()}
    left_out = {key for key in state if key not in loaded}
    assert all(key.startswith(("fc.", "module.conv_seg.")) for key in left_out)
    assert left_out
    for key, value in loaded.items():
        assert tuple(value.shape) == listed(name)[key], key
        assert bool((value == state[key].flatten()[0]).all()), key
    assert f"all {len(loaded)} entries from {name}.pth" in sentence
    assert digest[:12] in sentence
    assert "random" not in sentence, "the report warns of networks that started from random weights"


@pytest.mark.parametrize("kind", KINDS)
def test_files_from_before_batches_were_counted_load_too(kind: NetworkName, tmp_path: Path) -> None:
    state = {k: v for k, v in entries(SMALLEST[kind]).items() if not k.endswith("batches_tracked")}
    path, digest = saved(
        tmp_path / "old.pth", packed(kind, state), _use_new_zipfile_serialization=False
    )
    _, model = network(SMALLEST[kind])
    load_pretrained(model, kind, path, digest)
    assert model.backbone.state_dict()["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["layer4.0.bn2.running_var", "layer2.0.bn1.num_batches_tracked"])
def test_one_missing_entry_is_refused(kind: NetworkName, key: str, tmp_path: Path) -> None:
    state = entries(SMALLEST[kind])
    del state[("module." if kind == "dl3d" else "") + key]
    assert f"does not fit the network: {key} is missing" in refused(tmp_path, kind, state)


@pytest.mark.parametrize("kind", KINDS)
def test_one_wrong_shape_is_refused(kind: NetworkName, tmp_path: Path) -> None:
    state = entries(SMALLEST[kind])
    key = ("module." if kind == "dl3d" else "") + "layer3.0.conv2.weight"
    shape = (*state[key].shape[:2], *(1,) * (2 if kind == "dl2d" else 3))
    state[key] = torch.zeros(1).expand(shape)
    message = refused(tmp_path, kind, state)
    assert f"layer3.0.conv2.weight has shape {shape}, the network (256, 256, 3, 3" in message
    assert "shortcut" in message, "the remedy names what to change"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (torch.full((64,), torch.nan), "bn1.weight holds numbers that are not finite"),
        (torch.zeros(64, dtype=torch.int64), "bn1.weight holds torch.int64"),
    ],
)
def test_an_entry_that_is_no_weight_is_refused(
    entry: torch.Tensor, message: str, tmp_path: Path
) -> None:
    assert message in refused(tmp_path, "dl2d", entries(SMALLEST["dl2d"]) | {"bn1.weight": entry})


def test_weights_of_another_depth_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, "dl3d", entries("medicalnet_resnet_18"))
    assert "layer2.0.downsample.0.weight is missing" in message
    assert "more" in message


@pytest.mark.parametrize("kind", KINDS)
def test_another_sha256_is_refused_before_anything_is_unpacked(
    kind: NetworkName, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(_Runs(tmp_path / "ran"), 2))
    with pytest.raises(InputError, match=f"SHA-256 is .* says {'0' * 64} -> get the file"):
        load_pretrained(network(SMALLEST[kind])[1], kind, path, "0" * 64)
    assert not (tmp_path / "ran").exists()


class _Runs:
    """Payload of a malicious pickle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(
    kind: NetworkName, form: str, tmp_path: Path
) -> None:
    path, ran = tmp_path / "weights.pth", tmp_path / "ran"
    state = {**entries(SMALLEST[kind]), "spare": _Runs(ran)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(_Runs(ran), 2))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        zipped = form == "zip"
        _, digest = saved(path, packed(kind, state), _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="cannot be read as plain weights"):
        load_pretrained(network(SMALLEST[kind])[1], kind, path, digest)
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04 half a zip", b"\x80\x02]q\x00."])
def test_what_is_no_file_of_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pth"):
        load_pretrained(
            network(SMALLEST["dl3d"])[1], "dl3d", path, hashlib.sha256(content).hexdigest()
        )
