"""The catalogue: the only messages that may cross the wire, field by field.

Every request carries the run and the study's digest, because a Flower app's hash does not cover
what a run is configured with: a site answers only for a study it has seen and accepted. Every reply
carries its site's name and the `echo` of its request: a masked sum of another site or round looks
like any other, and would turn the total into noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.evaluation.level_areas import LevelAreas
from common.evaluation.local import Evaluation
from common.ledger.entry import request_digest
from common.masking.agreement import SignedKey
from common.messages.plain import plain
from common.statistics.base import Float
from common.statistics.placements import DeLongResult
from common.statistics.registry import statistic_classes
from common.transforms.views import View

Weights = NDArray[np.float32]
Ranges = NDArray[np.int64]
Ring64 = NDArray[np.uint64]
Ring32 = NDArray[np.uint32]
Ring16 = NDArray[np.uint16]


DEVICE = "device"
DEVICES = ("CPU", "GPU")


@plain
class Refusal:
    """A disclosure rule says no: which rule, its threshold, about what. Never the value."""

    rule: str
    threshold: float
    subject: str


@plain
class EnrolRequest:
    """Here is the study; are you ready? `study_json` is the validated study, canonical."""

    run: str
    study: str
    study_json: str

    @property
    def echo(self) -> dict[str, Any]:
        """What a reply repeats, by field."""
        return {"study": self.study}


@plain
class EnrolReply:
    """The site's name, software, and how many patients it brings.

    `software` has versions, and under `DEVICE` one of `DEVICES` where the study has networks.
    `counts` maps "train" and each test set to (patients, positives); `columns` names the columns of
    its base tables; `readings` the repeat readings of the contours it has; `excluded` counts
    patients left out on the site's word. `withheld` says which results of its test sets the site
    will keep to itself.
    """

    site: str
    study: str
    software: dict[str, str]
    counts: dict[str, tuple[int, int]]
    columns: dict[str, tuple[str, ...]]
    readings: tuple[str, ...]
    excluded: int
    key: SignedKey | None = None
    withheld: tuple[Refusal, ...] = ()


@plain
class SumItem:
    """One statistic over one view of one subset ("train" or a test set)."""

    statistic: Any
    view: View
    subset: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that is asked for, every number included."""
        return request_digest(self.statistic, self.view, self.subset)


@plain
class SumRequest:
    """Several sums in one round.

    `session` and `number` are never the same for two rounds of a run; `keys` are those of all sites
    of the roster, as each signed its own.
    """

    run: str
    study: str
    session: str
    number: int
    items: tuple[SumItem, ...]
    keys: tuple[SignedKey, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all items, in order."""
        return request_digest(*(item.digest for item in self.items))

    @property
    def echo(self) -> dict[str, Any]:
        """What a reply repeats, by field."""
        return {"session": self.session, "number": self.number, "request": self.digest}


@plain
class SumReply:
    """All sums of the request as ring elements, masked, one after the other in its order."""

    site: str
    session: str
    number: int
    request: str
    wide: Ring64
    narrow: Ring32


@plain
class RoundPlan:
    """What a site does with the weights it is sent.

    Parameters
    ----------
    epochs : local epochs; 0 = only look at the loss. Where the study counts in steps, these, which
        every site knows from the study, are taken in place of epochs.
    learning_rate : of this round.
    excluded_fold : training fold left out, -1 = none.
    validation_fold : left out too; the loss of the weights sent is looked at on it. -1 = none.
    total : training patients over all sites without these folds; the site's update is weighted by
        its own number over this.
    seed : of this round; a site mixes in its own name.
    keep : store features and probabilities of the training patients under the variant's name.
    round : how many rounds the weights sent have been through.
    grid : step of the 16-bit ring that the changes travel in, 0 = they take 32 bits.
    """

    epochs: int
    learning_rate: float
    excluded_fold: int
    total: int
    seed: int
    keep: bool
    validation_fold: int = -1
    round: int = 0
    grid: float = 0.0


@plain
class TrainRequest:
    """Weights of a network, and what to do with them.

    `wide` (k, 2) are ranges, start and stop, of weights whose changes have no natural bound, the
    running statistics of BatchNorm: they travel in the wide ring. `control` (n,) is the sites' mean
    control variate, empty unless the strategy sends one, as SCAFFOLD does.
    """

    run: str
    study: str
    session: str
    number: int
    network: str
    variant: str
    weights: Weights
    wide: Ranges
    plan: RoundPlan
    keys: tuple[SignedKey, ...]
    control: Weights = field(default_factory=lambda: np.zeros(0, dtype=np.float32))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that is asked for, every weight included."""
        asked = (self.network, self.variant, self.weights, self.control, self.wide, self.plan)
        return request_digest(*asked)

    @property
    def trained(self) -> int:
        """How many weights a site answers with the changes of."""
        return self.weights.size if self.plan.epochs else 0

    @property
    def echo(self) -> dict[str, Any]:
        """What a reply repeats, by field."""
        return {"session": self.session, "number": self.number, "request": self.digest}


@plain
class TrainReply:
    """The site's share of the change of the weights, as ring elements, masked.

    `parameters` is (own patients / total) x (local - global weights) with the wide ranges left at
    zero, then the change of the control variate where there is one; empty when no epoch was asked
    for. Where the plan has a grid, `half` holds the changes instead. `rest` holds the wide ranges,
    then five sums: training loss and count, held-out loss and count, steps times the share.
    `epsilon` is what the run has cost a patient of the site so far; 0 without differential privacy.
    """

    site: str
    session: str
    number: int
    request: str
    parameters: Ring32
    rest: Ring64
    half: Ring16 = field(default_factory=lambda: np.zeros(0, dtype=np.uint16))
    epsilon: float = 0.0


@plain
class RowsRequest:
    """Which out-of-fold probabilities: one view a column, each ending in one probability."""

    run: str
    study: str
    columns: dict[str, View]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that is asked for, the run included: there is no session."""
        return request_digest(self.run, self.study, self.columns)

    @property
    def echo(self) -> dict[str, Any]:
        """What a reply repeats, by field."""
        return {"request": self.digest}


@plain
class RowsReply:
    """Out-of-fold rows, shuffled, without ids: probabilities (n, k) to 3 decimals, labels (n,)."""

    site: str
    request: str
    probabilities: Float
    labels: Float


@plain
class EvaluateRequest:
    """The final bundle, as bytes by file name, and the test sets to score with it.

    `edges` (k, cells + 1) are those of the class-wise histogram of each model's scores. `cuts` says
    where strata that are no levels by themselves are cut in two; a site takes one such set a study.
    """

    run: str
    study: str
    bundle: dict[str, NDArray[np.uint8]]
    test_sets: tuple[str, ...]
    edges: Float
    cuts: dict[str, float] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that is asked for, the run included: there is no session."""
        asked = (self.bundle, self.test_sets, self.edges, self.cuts)
        return request_digest(self.run, self.study, *asked)

    @property
    def echo(self) -> dict[str, Any]:
        """What a reply repeats, by field."""
        return {"request": self.digest}


@plain
class EvaluateReply:
    """What the site may say of its own test patients.

    `counts` maps a test set to (patients, positives) at this site. A set that this site alone holds
    has its measures in `evaluations`; of a set spread over sites `parts` has the areas of the
    site's own patients. What a disclosure rule forbids is left out and noted in `withheld`.
    `strata` has, of a set that this site alone holds, the areas within levels, by set and stratum.
    """

    site: str
    request: str
    counts: dict[str, tuple[int, int]]
    evaluations: dict[str, Evaluation]
    parts: dict[str, DeLongResult]
    withheld: tuple[Refusal, ...]
    strata: dict[str, dict[str, LevelAreas]] = field(default_factory=dict)


@plain
class Refused:
    """Reply in place of any other: what the site refuses and why.

    At enrolment `refusals` are all that the study cannot go on with, and `withheld` what it can go
    on without.
    """

    refusals: tuple[Refusal, ...]
    site: str = ""
    withheld: tuple[Refusal, ...] = ()


@plain
class Problem:
    """Reply in place of any other: something went wrong at the site.

    Only a kind and the id of an entry in the site's own log: the text of an error can carry a
    patient's name or a path. `site` is empty where the node could not read its site.toml.
    """

    kind: str
    log_id: str
    site: str = ""


def answers(request: Any, reply: Any, site: str) -> bool:
    """Whether a reply names this site and repeats the `echo` of this request, types included."""
    wanted = {"site": site, **request.echo}
    given = {name: getattr(reply, name) for name in wanted}
    return all(type(given[name]) is type(wanted[name]) for name in wanted) and given == wanted


@dataclass(frozen=True)
class Exchange:
    """One kind of message: the class of its request and of its reply."""

    request: type[Any]
    reply: type[Any]
    purpose: str


CATALOGUE: dict[str, Exchange] = {
    "query.enrol": Exchange(EnrolRequest, EnrolReply, "say who takes part and with how many"),
    "query.sum": Exchange(SumRequest, SumReply, "sums of additive statistics"),
    "train.network": Exchange(TrainRequest, TrainReply, "local training of a network"),
    "query.rows": Exchange(RowsRequest, RowsReply, "out-of-fold probabilities for the stacker"),
    "evaluate.handout": Exchange(EvaluateRequest, EvaluateReply, "score the site's test patients"),
}
STATISTICS = statistic_classes()
REPLIES_IN_PLACE: tuple[type[Any], ...] = (Refused, Problem)
