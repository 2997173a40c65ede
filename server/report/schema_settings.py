"""Records of what was chosen in a study.

Blocks are those of study.toml with any keys, so that a file can still be read by a release in which
a setting has another name or limit.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, StrictBool, StrictInt

from server.report.schema_base import Count, Finite, Record


def _as_written(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Scalar = StrictBool | StrictInt | Finite | str
Value = Annotated[
    Scalar | tuple[Scalar, ...] | dict[Key, Scalar],
    BeforeValidator(_as_written),
]
Block = dict[Key, Value]


class RecordedColumn(Record):
    """A clinical column as the study declares it."""

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unit: str = ""
    summary: str = ""
    decimals: Count | None = None


class RecordedSettings(Record):
    """Every setting of a study but its roster and keys, and sentences on what no setting says.

    `radiomics_file` is the text of the extraction settings; empty in a study without radiomics.
    `remarks` say where the study differs from the paper or completes it beyond its settings.
    """

    folds: Count
    base_models: tuple[str, ...]
    fusion_models: tuple[str, ...] = ()
    strata: tuple[str, ...] = ()
    clinical: tuple[RecordedColumn, ...] = ()
    imaging: Block = Field(default_factory=dict)
    radiomics: Block = Field(default_factory=dict)
    selection: Block = Field(default_factory=dict)
    svm: Block = Field(default_factory=dict)
    dl2d: Block = Field(default_factory=dict)
    dl3d: Block = Field(default_factory=dict)
    fusion: Block = Field(default_factory=dict)
    privacy: Block = Field(default_factory=dict)
    differential_privacy: Block = Field(default_factory=dict)
    waiting: Block = Field(default_factory=dict)
    interpolation: Block = Field(default_factory=dict)
    radiomics_file: str = ""
    remarks: tuple[str, ...] = ()
