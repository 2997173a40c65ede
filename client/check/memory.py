"""Memory for preparing images and for training networks."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from client.check.finding import Finding, Findings, ok, problem, warning
from client.check.network_memory import Kind, training_bytes
from client.site import SiteSettings
from common.dossier.markdown import size
from common.errors import InputError
from common.study.model import Study

KIND = "machine.memory"
_GIB = 2**30
# Python with torch, or with ITK and PyRadiomics, before it has read anything
_PROCESS = 600 * 2**20
# the limit of a container, in both versions of the kernel's control groups
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_there() -> int:
    """Bytes of this machine, or of the container that this process runs in."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # "max", or no such control group
            there = min(there, int(Path(limit).read_text(encoding="ascii")))
    return there


def look_at_memory(
    study: Study, settings: SiteSettings, training: int, largest_gib: float | None
) -> Findings:
    """Compare what is needed with what the machine has.

    Parameters
    ----------
    training : training patients of this site.
    largest_gib : of the patient that takes most, None where no image could be looked at.
    """
    there = memory_there()
    kinds: tuple[Kind, ...] = ("dl2d", "dl3d")
    trained = [kind for kind in kinds if kind in study.base_models and training]
    for kind in trained:
        network = study.dl2d if kind == "dl2d" else study.dl3d
        needed = _PROCESS + training_bytes(kind, network)
        yield _compared(f"training {kind}", needed, _memory_of_device(settings, there))
    if largest_gib is not None:
        yield from _preparing(settings, largest_gib, there)
    elif study.needs_images:
        yield Finding(KIND, "not checked", "preparing images", "no image could be looked at")
    else:
        yield ok(KIND, f"{size(there)} there; the study reads no images")


def _memory_of_device(settings: SiteSettings, there: int) -> int:
    from client.training.device import find_compute

    with suppress(InputError):  # of a device that is not there, its own check tells
        return find_compute(settings.device).memory or there
    return there


def _preparing(settings: SiteSettings, largest_gib: float, there: int) -> Findings:
    needed = int(largest_gib * _GIB)
    if needed > settings.memory_gib * _GIB:
        yield warning(
            KIND,
            "preparing images",
            f"the largest patient takes {size(needed)}, memory_gib allows {settings.memory_gib:g}"
            " GiB; it will be prepared alone",
            "raise memory_gib in site.toml if the machine has more",
        )
    bound = max(needed, int(settings.memory_gib * _GIB))
    if needed > there or bound <= there:
        yield _compared("preparing images", needed, there)
        return
    yield warning(
        KIND,
        "preparing images",
        f"memory_gib allows {settings.memory_gib:g} GiB, the machine has {size(there)}",
        "lower memory_gib in site.toml, so that patients side by side do not use up all",
    )


def _compared(where: str, needed: int, there: int) -> Finding:
    what = f"about {size(needed)} needed, {size(there)} there"
    if needed > there:
        remedy = "use a machine with more memory, or ask for smaller batches in the study"
        return problem(KIND, where, what, remedy)
    return ok(KIND, what, where)
