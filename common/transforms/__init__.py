"""Fitted steps that travel as plain arrays: the same serve training, evaluation and prediction.

Every step names the columns it was fitted on and refuses others, so that training and inference
cannot drift apart. `restrict` gives the same step for fewer output columns, and the input columns
it then needs; a view uses it to send only what a selected model really uses.
"""

import importlib
import pkgutil

from common.transforms.base import Columns, Transform
from common.transforms.columns import (
    Clip,
    Impute,
    Rename,
    Select,
    Standardise,
)
from common.transforms.event_risk import EventRisk
from common.transforms.forest import Forest
from common.transforms.harmonise import Harmonise
from common.transforms.in_level import InLevel
from common.transforms.linear import Linear, Project, Sigmoid
from common.transforms.log_hazard import LogHazard
from common.transforms.normal_scores import NormalScores
from common.transforms.nystroem import KernelMap
from common.transforms.stack import Stack

__all__ = [
    "Clip",
    "Columns",
    "EventRisk",
    "Forest",
    "Harmonise",
    "Impute",
    "InLevel",
    "KernelMap",
    "Linear",
    "LogHazard",
    "NormalScores",
    "Project",
    "Rename",
    "Select",
    "Sigmoid",
    "Stack",
    "Standardise",
    "Transform",
]


def find_transforms() -> None:
    """Import every module of this folder, so that messages can name a step that nobody imports."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


find_transforms()
