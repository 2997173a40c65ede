"""Run recorded programs again, in a process of their own, and print what each asks.

`python -m tests.server.phases.replay theirs | own | library FILE ...`: with the coordinator's
solutions, with this processor's own ones, or with the library's functions in place of portable
arithmetic.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.ledger.entry import request_digest
from common.messages.exchanges import EvaluateReply, SumItem
from common.messages.plain import plain, read_plain
from common.study.model import Study
from common.transforms import Select
from common.transforms.views import table
from common.utils import portable
from server.phases import protocol
from server.phases.clinical import fit_clinical
from server.phases.components import principal_components
from server.phases.fusion import fit_feature_fusion
from server.phases.program import run_program
from server.phases.radiomics import fit_radiomics
from server.phases.standardise import standardise

DEEP = 30


@plain
class Recording:
    """All that a coordinator learns while it runs a program.

    Parameters
    ----------
    program : of `PROGRAMS`. study : as JSON. members : replies to the enrolment.
    sums : of every question, in order. agreed : values by name. replies : to the handout.
    """

    program: str
    study: str
    members: dict[str, Any]
    sums: tuple[Any, ...]
    agreed: dict[str, Any]
    replies: dict[str, Any]


class Steps:
    """Surroundings that keep nothing."""

    def step(self, name: str, work: Callable[[], Any], *, phase: str = "") -> Any:
        return work()

    def training(self, *_: Any) -> Any:
        raise AssertionError("no networks here")

    def files(self, bundle: Any) -> Any:
        return bundle.to_files()


def whole_study(federation: protocol.Federation) -> None:
    run_program(federation, Steps(), {})


def features(federation: protocol.Federation) -> None:
    """Fit what has many columns: radiomics, principal components, and all of them together."""
    fitted = {"clinical": fit_clinical(federation), "radiomics": fit_radiomics(federation)}
    names = tuple(f"d{i}" for i in range(DEEP))
    deep = table("deep").then(Select(columns=names))
    standardise(federation, principal_components(federation, [deep], "deep"))
    fit_feature_fusion(federation, fitted)


PROGRAMS = {"study": whole_study, "features": features}


class Replay(protocol.Federation):
    """Answers as they were recorded."""

    def __init__(self, recording: Recording, *, own: bool = False) -> None:
        self.study = Study.model_validate_json(recording.study)
        self.members = recording.members
        self._recording, self._own = recording, own
        self._sums = iter(recording.sums)
        self.digests: list[str] = []
        self.other_bits: list[str] = []
        self.together = 0.0

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        self.digests.append(request_digest("sum", tuple(items)))
        return [item.statistic.finalise(next(self._sums)) for item in items]

    def agreed(self, name: str, value: Any, apart: Callable[[Any], float]) -> Any:
        theirs = self._recording.agreed[name]
        if request_digest(name, value) != request_digest(name, theirs):
            self.other_bits.append(name)
        if self._own:
            return value
        share = apart(theirs)
        if not share <= 1.0:
            raise AssertionError(f"{name} of another processor is not accepted")
        self.together += share
        return theirs

    def evaluate(
        self, files: Mapping[str, Any], edges: Any, cuts: Mapping[str, float]
    ) -> dict[str, EvaluateReply]:
        self.digests.append(request_digest("evaluate", dict(files), edges, dict(cuts)))
        return self._recording.replies


def use_the_library() -> None:
    """Put the functions of numpy and BLAS in place of portable arithmetic."""
    portable.product = lambda first, second: np.asarray(first @ second)
    portable.dot = lambda first, second: float(first @ second)
    portable.exp, portable.log = np.exp, np.log


def replayed(recording: Recording, *, own: bool) -> dict[str, Any]:
    federation = Replay(recording, own=own)
    PROGRAMS[recording.program](federation)
    return {
        "asked": federation.digests,
        "other_bits": federation.other_bits,
        "together": federation.together,
    }


def main() -> None:
    variant, *files = sys.argv[1:]
    if variant == "library":
        use_the_library()
    own = variant == "own"
    print(json.dumps([replayed(read_plain(Path(file)), own=own) for file in files]))


if __name__ == "__main__":
    main()
