"""What networks are trained on."""

from __future__ import annotations

import os

from client.check.finding import Findings, ok, warning
from client.site import SiteSettings
from common.study import Study

KIND = "machine.device"


def look_at_device(study: Study, settings: SiteSettings) -> Findings:
    """Processor, threads, and a graphics card where there is one."""
    cores = len(os.sched_getaffinity(0))
    told = f"{cores} cores, threads = {settings.threads} in site.toml"
    if settings.threads > cores:
        remedy = "set threads to the number of cores or less; threads that wait slow all others"
        yield warning(KIND, "", told, remedy)
    elif not {"dl2d", "dl3d"} & set(study.base_models):
        yield ok(KIND, f"the study trains no network; {told}")
    else:
        import torch

        card = ""
        if torch.cuda.is_available():
            card = f"; {torch.cuda.get_device_name(0)} is there, this release trains on the CPU"
        yield ok(KIND, f"networks are trained on the CPU: {told}{card}")
