"""The file in which a hospital outside a study sends measures of the study's models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from common.errors import InputError
from common.evaluation.follow_up_findings import FollowUpFindings, check_consistent
from common.evaluation.local import Evaluation
from common.messages.conforming import conform
from common.messages.limits import MOST_PATIENTS
from common.messages.plain import from_tree, to_tree
from common.messages.signed_document import SignedDocument
from common.study.block import Settings
from common.study.follow_up import FollowUp
from common.study.model import Name

FORMAT = 1
LARGEST = 1e15
"""Bound of a clinical value; see `client.data.clinical_values`."""
_ARRAY, _VALUES = "__array__", "__values__"
Count = Annotated[int, Field(ge=0, le=MOST_PATIENTS)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-LARGEST, le=LARGEST)]


class ColumnMix(Settings):
    """A clinical column at the hospital, beside the training patients of the study.

    Parameters
    ----------
    column : of the clinical table; `sex=male` is the share of a level.
    training_mean, training_sd : over all training patients.
    mean, sd : over the hospital's patients with a value; None = withheld.
    missing : patients without a value; None = withheld.
    """

    column: str
    training_mean: Number
    training_sd: Number
    mean: Number | None = None
    sd: Number | None = None
    missing: Count | None = None


class ValidationReport(SignedDocument):
    """Measures of all models at one hospital, made from cells of several patients.

    Parameters
    ----------
    hospital : as it wants to be called.
    identity_key : base64; signs this file.
    study, endpoint : in words. study_digest, bundle_digest : SHA-256 (hex).
    models, cutoffs : in the order of the measures.
    patients, positives : None = withheld. left_out : patients who could not be used.
    min_cell : fewest patients of a cell; those of the hospital's own thresholds.
    measures : an `Evaluation`, or `FollowUpFindings` where the endpoint has a time; None =
        withheld, `withheld` says by which rules.
    """

    purpose: ClassVar[str] = "external validation"
    format: int = Field(FORMAT, ge=1)
    hospital: str = Name
    identity_key: str
    study: str
    endpoint: str
    study_digest: str
    bundle_digest: str
    models: tuple[str, ...]
    cutoffs: dict[str, float]
    patients: Count | None
    positives: Count | None
    left_out: Count
    min_cell: Count
    measures: dict[str, Any] | None
    withheld: tuple[str, ...] = ()
    case_mix: tuple[ColumnMix, ...] = ()
    software: dict[str, str]

    def check(self) -> str:
        """Return the fingerprint of the hospital that signed it; see `check_signed_by`."""
        return self.check_signed_by(self.identity_key)

    def evaluation(self) -> Evaluation | None:
        """Return the measures.

        Raises
        ------
        InputError : what stands there is none, or not of these models.
        """
        if self.measures is None:
            return None
        with self._read_as_told():
            found: Evaluation = from_json(self.measures)
            conform(found, Evaluation, "measures", {"models": len(self.models)})
            _check_numbers(found, (self.patients, self.positives))
        return found

    def follow_up(self, grid: FollowUp) -> FollowUpFindings | None:
        """Return the measures of a time to event; errors are those of `evaluation`."""
        if self.measures is None:
            return None
        with self._read_as_told():
            found: FollowUpFindings = _with_whole_periods(from_json(self.measures))
            lengths = {"models": len(self.models), "horizons": len(grid.horizons)}
            conform(found, FollowUpFindings, "measures", lengths)
            check_consistent(found, grid.periods, len(self.models))
            if (found.patients, found.events) != (self.patients, self.positives):
                raise ValueError("measures of other patients")
        return found

    @contextmanager
    def _read_as_told(self) -> Iterator[None]:
        """Say in words that measures cannot be read."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(
                "holds measures that this release cannot read",
                where=f"file of {self.hospital}",
                remedy="ask the hospital for a file of the same release",
            ) from None


def _with_whole_periods(found: Any) -> Any:
    """Return measures whose periods are whole numbers again; arrays of a file are not."""
    groups = []
    for one in found.groups:
        if not (np.isfinite(one.last) & (one.last == np.round(one.last))).all():
            raise ValueError("a period that is none")
        groups.append(dataclasses.replace(one, last=one.last.astype(np.int64)))
    return dataclasses.replace(found, groups=tuple(groups))


def _check_numbers(found: Evaluation, counted: tuple[int | None, int | None]) -> None:
    """Raise ValueError where measures contradict each other, or no patients could have them.

    Parameters
    ----------
    counted : patients and positives of the file; measures need patients of either outcome.
    """
    measured = (found.delong, found.fit, found.decision)
    if any((one.n, one.positives) != counted for one in measured):
        raise ValueError("measures of different numbers of patients")
    if not 0 < found.delong.positives < found.delong.n:
        raise ValueError("measures of patients with one outcome")
    cells = found.histogram.counts.shape[-1]
    if found.histogram.edges.shape[-1] != cells + 1:
        raise ValueError("a histogram of other cells than it has edges")
    spread = np.diagonal(found.delong.covariance)
    if (spread < 0).any() or any(np.isinf(array).any() for array in _arrays(found)):
        raise ValueError("a measure that no patients have")


def _arrays(value: Any, name: str = "") -> Iterator[NDArray[np.float64]]:
    """Yield the arrays inside, but edges, which may be infinite."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _arrays(getattr(value, field.name), field.name)
    elif isinstance(value, np.ndarray) and name != "edges":
        yield value


def to_json(value: Any) -> Any:
    """Return plain data as JSON, arrays in place as lists, NaN as null, infinity as "inf".

    >>> to_json(np.array([0.5, np.nan]))
    {'__values__': [0.5, None], 'shape': [2]}
    """
    tree, arrays = to_tree(value)
    return _filled(tree, arrays)


def _filled(item: Any, arrays: list[Any]) -> Any:
    if isinstance(item, list):
        return [_filled(part, arrays) for part in item]
    if isinstance(item, float) and not math.isfinite(item):
        return None
    if not isinstance(item, dict):
        return item
    if _ARRAY in item:
        array = np.asarray(arrays[item[_ARRAY]], dtype=np.float64)
        flat = [_cell(value) for value in array.ravel().tolist()]
        return {_VALUES: flat, "shape": list(array.shape)}
    return {key: _filled(part, arrays) for key, part in item.items()}


def _cell(value: float) -> float | str | None:
    """Return a number as JSON has it: NaN is null, infinity a text."""
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def from_json(tree: Any) -> Any:
    """Return the plain data of a `to_json`; every array is float64.

    Raises
    ------
    ValueError, TypeError, KeyError : a tree that `to_json` does not make.
    """
    arrays: list[Any] = []
    return from_tree(_emptied(tree, arrays), arrays)


def _emptied(item: Any, arrays: list[Any]) -> Any:
    if isinstance(item, list):
        return [_emptied(part, arrays) for part in item]
    if not isinstance(item, dict):
        return item
    if _VALUES in item:
        values = [math.nan if value is None else float(value) for value in item[_VALUES]]
        shape = tuple(int(size) for size in item["shape"])
        arrays.append(np.array(values, dtype=np.float64).reshape(shape))
        return {_ARRAY: len(arrays) - 1}
    return {key: _emptied(part, arrays) for key, part in item.items()}
