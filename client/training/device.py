"""Device and precision of a site's networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from common.errors import InputError

Precision = Literal["auto", "float32"]


@dataclass(frozen=True)
class Compute:
    """Device, and its use.

    Parameters
    ----------
    device : torch's name of it.
    loaders : threads that read crops ahead.
    """

    device: torch.device
    loaders: int = 0

    @property
    def on_gpu(self) -> bool:
        """True on a graphics card."""
        return self.device.type == "cuda"

    @property
    def memory(self) -> int | None:
        """Bytes of the card; None where the networks share the machine's memory."""
        if not self.on_gpu:
            return None
        return int(torch.cuda.get_device_properties(self.device).total_memory)

    def sixteen_bits(self, precision: Precision) -> torch.dtype | None:
        """Return the type of mixed precision, None where all is float32.

        bfloat16, or float16 on a card that lacks it.

        Notes
        -----
        A CPU trains in float32: torch 2.13 writes beyond the weights' gradient of bfloat16
        convolutions on images no wider than their kernel, which spoils training or ends the
        program.
        """
        if precision == "float32" or not self.on_gpu:
            return None
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.float16
        return torch.bfloat16

    def words(self) -> str:
        """Describe the device for people."""
        if self.on_gpu:
            return f"{torch.cuda.get_device_name(self.device)} ({self.device})"
        return "the CPU"


CPU = Compute(torch.device("cpu"))


def find_compute(device: str, loaders: int = 0) -> Compute:
    """Return the device that site.toml asks for.

    Parameters
    ----------
    device : "auto" (a graphics card where there is one), "cpu", "cuda", or "cuda:1" and so on.

    Raises
    ------
    InputError : a graphics card that does not exist.
    """
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    chosen = torch.device(("cuda" if cards else "cpu") if device == "auto" else device)
    if chosen.type == "cuda" and (chosen.index or 0) >= cards:
        raise InputError(
            f'device = "{device}", and torch sees {cards} graphics card(s)',
            where="site.toml",
            remedy='install driver and a CUDA build of torch, or write device = "auto"',
        )
    return Compute(chosen, loaders)


@contextmanager
def repeatable(compute: Compute, *, tensor_float: bool) -> Iterator[None]:
    """Use the same convolution algorithms every time; on a CPU there is no choice.

    Parameters
    ----------
    tensor_float : True if float32 convolutions may be rounded to TensorFloat-32.
    """
    if not compute.on_gpu:
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=tensor_float
    ):
        yield
