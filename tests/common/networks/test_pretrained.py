"""Published weights load entry for entry, and nothing else does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InputError
from common.models import NetworkName
from common.networks.initial import load_pretrained
from common.networks.resnet import build_network
from common.study.model import NetworkSettings

SETTINGS = NetworkSettings(
    block="bottleneck", layers=(1, 1, 1, 1), widths=(4, 4, 8, 8), stem_kernel=3
)


def saved(path: Path, content: Any) -> tuple[Path, str]:
    torch.save(content, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def published(kind: NetworkName, seed: int = 8) -> dict[str, Any]:
    """A file's content with the keys that the publisher writes."""
    backbone = build_network(kind, SETTINGS, seed).backbone.state_dict()
    if kind == "dl2d":
        return dict(backbone) | {"fc.weight": torch.zeros(1000, 32), "fc.bias": torch.zeros(1000)}
    state = {f"module.{key}": value for key, value in backbone.items()}
    state["module.conv_seg.0.weight"] = torch.zeros(3)
    return {"state_dict": state}


@pytest.mark.parametrize("kind", ["dl2d", "dl3d"])
def test_every_backbone_entry_comes_from_the_file(kind: NetworkName, tmp_path: Path) -> None:
    path, digest = saved(tmp_path / "weights.pth", published(kind))
    model = build_network(kind, SETTINGS, seed=1)
    head = model.head.weight.clone()
    sentence = load_pretrained(model, kind, path, digest)
    expected = build_network(kind, SETTINGS, seed=8).backbone.state_dict()
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, expected[name]), name
    assert torch.equal(model.head.weight, head)
    assert "weights.pth" in sentence
    assert digest[:12] in sentence


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_pretrained(build_network("dl2d", SETTINGS, 1), "dl2d", tmp_path / "no.pth", "")


def test_3d_file_without_state_dict_is_refused(tmp_path: Path) -> None:
    path, digest = saved(tmp_path / "weights.pth", published("dl2d"))
    with pytest.raises(InputError, match="does not hold a `state_dict` entry"):
        load_pretrained(build_network("dl3d", SETTINGS, 1), "dl3d", path, digest)


def test_missing_extra_and_misshapen_entries_are_named(tmp_path: Path) -> None:
    content = published("dl2d")
    del content["bn1.weight"]
    content["spare"] = torch.zeros(1)
    content["conv1.weight"] = torch.zeros(1)
    path, digest = saved(tmp_path / "weights.pth", content)
    with pytest.raises(InputError) as caught:
        load_pretrained(build_network("dl2d", SETTINGS, 1), "dl2d", path, digest)
    message = str(caught.value)
    assert "bn1.weight is missing" in message
    assert "spare is not in the network" in message
    assert "conv1.weight has shape (1,)" in message


def test_refused_file_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    content = published("dl2d")
    del content["layer4.0.bn3.bias"]
    path, digest = saved(tmp_path / "weights.pth", content)
    model = build_network("dl2d", SETTINGS, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError):
        load_pretrained(model, "dl2d", path, digest)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
