"""What networks are trained on."""

from __future__ import annotations

import os

from client.check.finding import Findings, ok, problem, warning
from client.site import SiteSettings
from common.errors import InputError
from common.study.model import Study

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
        from client.training.device import find_compute

        try:
            compute = find_compute(settings.device)
        except InputError as error:
            yield problem(KIND, "device", error.what, error.remedy)
        else:
            yield ok(KIND, f"networks are trained on {compute.words()}: {told}")
