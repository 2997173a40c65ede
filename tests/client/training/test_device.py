"""A site computes on the device of its site.toml, or reports that it cannot."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from client.handlers import device_in_words
from client.site import load_site
from client.training.device import CPU, Compute, find_compute
from common.errors import InputError

CARD = Compute(torch.device("cuda"))


def cards(monkeypatch: pytest.MonkeyPatch, count: int, bfloat16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: bfloat16)


@pytest.mark.parametrize(
    ("device", "there", "chosen"),
    [
        ("auto", 0, "cpu"),
        ("auto", 2, "cuda"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_the_device_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, there: int, chosen: str
) -> None:
    cards(monkeypatch, there)
    assert find_compute(device).device == torch.device(chosen)


@pytest.mark.parametrize(("device", "there"), [("cuda", 0), ("cuda:2", 2)])
def test_a_card_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, there: int
) -> None:
    cards(monkeypatch, there)
    with pytest.raises(InputError, match=rf'device = "{device}", and torch sees {there}'):
        find_compute(device)


def test_precision_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    cards(monkeypatch, 1)
    assert CPU.sixteen_bits("auto") is None
    assert CARD.sixteen_bits("auto") is torch.bfloat16
    assert CARD.sixteen_bits("float32") is None
    cards(monkeypatch, 1, bfloat16=False)
    assert CARD.sixteen_bits("auto") is torch.float16


def test_site_toml_names_the_device(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('name = "a"\n')
    assert (load_site(path).device, load_site(path).loaders) == ("auto", 1)
    path.write_text('name = "a"\ndevice = "cuda:1"\nloaders = 0\n')
    assert (load_site(path).device, load_site(path).loaders) == ("cuda:1", 0)
    path.write_text('name = "a"\ndevice = "tpu"\n')
    with pytest.raises(InputError, match="device"):
        load_site(path)


@pytest.mark.parametrize(("there", "expected"), [(0, "CPU"), (1, "GPU")])
def test_the_coordinator_hears_cpu_or_gpu_and_the_own_screen_which(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, there: int, expected: str
) -> None:
    cards(monkeypatch, there)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Model 5")
    workspace: Any = SimpleNamespace(
        name="a",
        study=SimpleNamespace(networks=("dl3d",)),
        settings=SimpleNamespace(device="auto", loaders=1),
    )
    with caplog.at_level(logging.INFO, logger="fedlnm.site"):
        assert device_in_words(workspace) == {"device": expected}
    assert ("Model 5 (cuda)" in caplog.text) == bool(there)
    workspace.study.networks = ()
    assert device_in_words(workspace) == {}
