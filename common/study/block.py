"""Base class and error messages of the blocks of the study file."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from common.errors import InputError
from common.utils.text_file import check_printable, on_one_line

Positive = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """Base of every block of the study file: unknown keys are errors, values never change.

    Every text is plain text on one line: it is shown to a person who decides by it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*")
    @classmethod
    def _texts_print(cls, value: Any) -> Any:
        check_printable(value)
        return value


def _keys_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the names allowed in the table at `path`, also in nested models and tuples."""
    current: type[BaseModel] = model
    for part in path:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(str(part))
        if field is None:
            return []
        candidates = [field.annotation, *get_args(field.annotation)]
        models = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            return []
        current = models[0]
    return list(current.model_fields)


MOST_FINDINGS = 20
"""Findings that one error names: a file of another release has one in every row."""


def explain(error: ValidationError, *, where: str, model: type[BaseModel]) -> InputError:
    """Return the findings of one validation as one InputError."""
    lines = findings(error, model=model)
    if len(lines) > MOST_FINDINGS:
        lines[MOST_FINDINGS:] = [f"and {len(lines) - MOST_FINDINGS} more"]
    return InputError("; ".join(lines), where=where, remedy="see docs/formats.md")


def findings(error: ValidationError, *, model: type[BaseModel]) -> list[str]:
    """Return the findings of one validation, with near matches for typing slips."""
    lines: list[str] = []
    for finding in error.errors():
        path = finding["loc"]
        key = on_one_line(".".join(str(part) for part in path)) or "(file)"
        if finding["type"] == "extra_forbidden":
            known = _keys_at(model, path[:-1])
            near = difflib.get_close_matches(str(path[-1]), known, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; known keys: {', '.join(known)}"
            lines.append(f'unknown key "{key}"{hint}')
        elif finding["type"] == "missing":
            lines.append(f'missing key "{key}"')
        else:
            message = finding["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {message}" if path else message)
    return lines
