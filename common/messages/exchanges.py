"""Catalogue of the only messages that may cross the wire, field by field.

Every request carries the run and the study's digest, because a Flower app's hash does not cover
the run's configuration: a site answers only for a study it has seen and accepted. Every reply
carries its site's name and the `echo` of its request: a masked sum of another site or round looks
like any other, and would turn the total into noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from common.evaluation.calibration_fit import CalibrationFit
from common.evaluation.canaries import CanaryAudit
from common.evaluation.follow_up_findings import FollowUpFindings
from common.evaluation.level_areas import LevelAreas
from common.evaluation.local import Evaluation
from common.evaluation.membership import MembershipAudit
from common.evaluation.release_audit import ReleaseAudit
from common.ledger.entry import request_digest
from common.masking.absence import Consent
from common.masking.agreement import SignedKey
from common.masking.narrow import Grid, Packed
from common.messages.limits import Limits, Patients
from common.messages.opening import (
    MOST_ATTEMPTS,
    Opening,
    OpenReply,
    OpenRequest,
    SignReply,
    SignRequest,
)
from common.messages.plain import plain
from common.statistics.base import Float, statistic_classes
from common.statistics.placements import DeLongResult
from common.transforms.views import View

Weights = NDArray[np.float32]
Ranges = NDArray[np.int64]
Ring64 = NDArray[np.uint64]
Ring32 = NDArray[np.uint32]


DEVICE = "device"
DEVICES = ("CPU", "GPU")
READINGS = ("r1_repeat", "r2", "r2_repeat")
"""Readings of a contour beside the main one, "r1"."""


@plain
class Refusal:
    """Refusal by a disclosure rule: nothing in it depends on a value.

    `subset` is "train" or a test set of the study, empty where the rule is about none of them.
    """

    rule: str
    threshold: float
    subset: str


@plain
class EnrolRequest:
    """Question whether a site is ready for `study_json`, the validated study in canonical form.

    `session` is a random name of this enrolment, for which every site signs a new key.
    """

    run: str
    study: str
    study_json: str
    session: str = ""

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"study": self.study}


@plain
class EnrolReply:
    """Site's name, software, and number of patients.

    `software` has versions, and under `DEVICE` one of `DEVICES` where the study has networks.
    `counts` maps "train" and each test set to (patients, positives); `columns` names the columns of
    its base tables; `readings` the repeat readings of the contours it has; `excluded` counts
    patients left out because the site says so. `withheld` lists results of its test sets that
    the site will withhold. A site that `verifies` answers only questions that it has derived.
    `consent` is its consent to be left out once it is away for long, where it signed one.
    """

    site: str
    study: str
    software: dict[str, str]
    counts: dict[str, tuple[Patients, Patients]]
    columns: dict[str, tuple[str, ...]]
    readings: tuple[str, ...]
    excluded: Patients
    key: SignedKey | None = None
    withheld: tuple[Refusal, ...] = ()
    verifies: bool = False
    consent: Consent | None = None


NOBODY = EnrolReply(site="", study="", software={}, counts={}, columns={}, readings=(), excluded=0)
"""Reply of a simulated node beyond the study's sites."""


@plain
class KeyRequest:
    """Every site's reply to the enrolment, from which all of them agree on a key of this run.

    The coordinator never learns that key: the fingerprints of sums are made with it.
    """

    run: str
    study: str
    session: str
    enrolments: tuple[EnrolReply, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole request."""
        return request_digest(self.run, self.study, self.session, self.enrolments)

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"request": self.digest}


@plain
class KeyReply:
    """The site's contribution to the key, sealed for each other site by name, uint8 (n,)."""

    site: str
    request: str
    sealed: dict[str, NDArray[np.uint8]]


@plain
class AgreeRequest:
    """Contributions that the other sites sealed for this one, by their names.

    `enrolments` is the digest of the `KeyRequest` that they answered.
    """

    run: str
    study: str
    session: str
    enrolments: str
    sealed: dict[str, NDArray[np.uint8]]

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"session": self.session}


@plain
class AgreeReply:
    """Word of a site that it has the key."""

    site: str
    session: str


@plain
class SumItem:
    """One statistic over one view of one subset ("train" or a test set)."""

    statistic: Any
    view: View
    subset: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole item, every number included."""
        return request_digest(self.statistic, self.view, self.subset)

    @property
    def goes_back(self) -> bool:
        """Return whether a later question depends on the sum, so that the sites need it too."""
        return not getattr(self.statistic, "final", False)


@plain
class FollowRequest:
    """Answers for a site that derives the questions and is asked nothing for a while.

    `number` is that of the next question.
    """

    run: str
    study: str
    session: str
    number: int
    progress: tuple[Any, ...] = ()

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"session": self.session, "number": self.number}


@plain
class FollowReply:
    """Word of a site that it has heard of all answers before question `number`."""

    site: str
    session: str
    number: int


@plain
class Totals:
    """Sums over sites of question `number`, as ring elements end to end, for the sites.

    Parameters
    ----------
    session : under which it was asked.
    fingerprints : (k,), sums of the sites' fingerprints, see `common.masking.fingerprint`; one for
        each subset in the order of their names, or one of an update, and one of its five sums
        where these are apart.
    opened : sites whose updates were added, where a quorum of them is enough.
    signatures : by these sites, each (64,), of the opening.
    attempt : of the opening.
    """

    session: str
    number: int
    ring64: Ring64
    ring32: Ring32
    narrow: Packed
    fingerprints: NDArray[np.uint64]
    opened: tuple[str, ...] = ()
    signatures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    attempt: Annotated[int, Limits(low=0, high=MOST_ATTEMPTS)] = 0


@plain
class Agreed:
    """Value of a solver, in place of one that differs in its last digits; see `agreed`."""

    number: int
    name: str
    value: Any


Progress = tuple[Totals | Agreed, ...]


@plain
class SumRequest:
    """Several sums in one round.

    `session` and `number` are never the same for two rounds of a run; `keys` are those of all sites
    of the roster, as each signed its own. `progress` has what a site that derives the questions
    itself has not heard of yet.
    """

    run: str
    study: str
    session: str
    number: int
    items: tuple[SumItem, ...]
    keys: tuple[SignedKey, ...]
    progress: Progress = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all items, in order."""
        return request_digest(*(item.digest for item in self.items))

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"session": self.session, "number": self.number, "request": self.digest}


@plain
class SumReply:
    """All sums of a request as masked ring elements, in its order.

    `fingerprints` (k,) are those of the sums that go back to the sites, by subset; none where the
    sites have no key.
    """

    site: str
    session: str
    number: int
    request: str
    ring64: Ring64
    ring32: Ring32
    fingerprints: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))


@plain
class RoundPlan:
    """Instructions of one training round.

    Parameters
    ----------
    epochs : local epochs; 0 = only evaluate the loss. Ignored where the study counts in steps,
        which every site knows from the study.
    learning_rate : of this round.
    excluded_fold : training fold left out, -1 = none.
    validation_fold : left out too; the loss of the received weights is evaluated on it. -1 = none.
    total : training patients over all sites without these folds; the site's update is weighted by
        its own number over this.
    keep : store features and probabilities of the training patients under the variant's name.
    round : number of rounds behind the received weights.
    grid : of the narrow ring for the changes; without a width they take 32 bits.
    invited : sites of which a quorum is enough, in roster order; empty = all have to answer. Then
        `total` counts all training patients, and a site's update is weighted by all of its own.
    """

    epochs: int
    learning_rate: float
    excluded_fold: int
    total: int
    keep: bool
    validation_fold: int = -1
    round: int = 0
    grid: Grid = Grid()
    invited: tuple[str, ...] = ()


@plain
class TrainRequest:
    """Weights of a network with the plan of a round.

    `running` (k, 2) are ranges, start and stop, of the running statistics of BatchNorm: their
    changes have no natural bound, and travel in 64 bits. `control` (n,) is the sites' mean
    control variate, empty unless the strategy sends one, as SCAFFOLD does. A site that derives
    the questions itself gets neither weights nor control: it knows them (`without_weights`).
    `attempt` is that of the opening: the same update is asked for again, under fresh masks.
    """

    run: str
    study: str
    session: str
    number: int
    network: str
    variant: str
    weights: Weights
    running: Ranges
    plan: RoundPlan
    keys: tuple[SignedKey, ...]
    control: Weights = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    progress: Progress = ()
    attempt: Annotated[int, Limits(low=0, high=MOST_ATTEMPTS)] = 0

    def without_weights(self, progress: Progress) -> TrainRequest:
        """Return the request for a site that derives its questions."""
        nothing = np.zeros(0, dtype=np.float32)
        return replace(self, weights=nothing, control=nothing, progress=progress)

    def with_weights(self, weights: Weights, control: Weights) -> TrainRequest:
        """Return the whole request from one without weights."""
        return replace(self, weights=weights, control=control, progress=())

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole request, every weight included."""
        asked = (self.network, self.variant, self.weights, self.control, self.running, self.plan)
        return request_digest(*asked)

    @property
    def opening(self) -> Opening:
        """The opening of its sum, before it is known who answers."""
        about = (self.session, self.number, self.digest, self.network, self.variant)
        return Opening(*about, self.plan.round, self.plan.invited, attempt=self.attempt)

    @property
    def trained(self) -> int:
        """Number of weights whose changes a site returns."""
        return self.weights.size if self.plan.epochs else 0

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        asked = {"session": self.session, "number": self.number, "request": self.digest}
        return asked | {"attempt": self.attempt}


@plain
class TrainReply:
    """The site's share of the change of the weights, as masked ring elements.

    `parameters` is (own patients / total) x (local - global weights) where running statistics
    are left at zero, then the change of the control variate where there is one; empty when no epoch
    was asked for. Where the plan has a grid, `narrow` holds the changes instead, packed.
    `statistics` holds those, then five sums: training loss and count, held-out loss and count,
    steps times the share.
    `epsilon` is the privacy loss of a patient of the site so far; 0 without differential privacy.
    `sums` holds the five where a quorum is enough: they open only together with those of all
    training sites, and `statistics` has zeros in their place.
    `departures` is how many rounds the site still lets go on without some, where the sum counts.
    `objection` is empty, or two losses of the site's held-out patients, the best before and that
    now, where the weights received make it far worse.
    """

    site: str
    session: str
    number: int
    request: str
    parameters: Ring32
    statistics: Ring64
    narrow: Packed = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    epsilon: Annotated[float, Limits(low=0)] = 0.0
    objection: tuple[Annotated[float, Limits(low=0, high=1e6, decimals=2)], ...] = ()
    fingerprints: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    sums: Ring64 = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    departures: Annotated[int, Limits(low=0)] = 0
    attempt: Annotated[int, Limits(low=0, high=MOST_ATTEMPTS)] = 0


@plain
class RowsRequest:
    """Request for out-of-fold probabilities, one view per column, once a study.

    `counts` are the training patients of every site that trains: together, the places of the sum.
    `fitting` (m, cells) are the rows of all sites at each rounded probability of the m models that
    read clinical values alone.
    """

    run: str
    study: str
    columns: dict[str, View]
    fitting: Float
    counts: dict[str, int]
    keys: tuple[SignedKey, ...]
    number: int = 0
    progress: Progress = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole request, run included: there is no session."""
        return request_digest(self.run, self.study, self.columns, self.fitting, self.counts)

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"request": self.digest}


@plain
class RowsReply:
    """Out-of-fold rows in the site's places among those of all, zeros elsewhere, masked.

    `ring32` holds of every place a flag, the label and k probabilities (`common.masking`).
    """

    site: str
    request: str
    ring32: Ring32


@plain
class EvaluateRequest:
    """The final bundle, as bytes by file name, and the test sets to score with it.

    `edges` (k, cells + 1) are those of the class-wise histogram of each model's scores. `cuts`
    gives the cut in two of strata without levels of their own; a site takes one such set per study.
    """

    run: str
    study: str
    bundle: dict[str, NDArray[np.uint8]]
    test_sets: tuple[str, ...]
    edges: Float
    cuts: dict[str, float] = field(default_factory=dict)
    number: int = 0
    progress: Progress = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the whole request, run included: there is no session."""
        asked = (self.bundle, self.test_sets, self.edges, self.cuts)
        return request_digest(self.run, self.study, *asked)

    @property
    def echo(self) -> dict[str, Any]:
        """Fields that a reply repeats, with their values."""
        return {"request": self.digest}


@plain
class EvaluateReply:
    """Permitted results of a site's own test patients.

    `counts` maps a test set to (patients, positives) at this site. A set that this site alone holds
    has its measures in `evaluations`; of a set spread over sites `parts` has the areas of the
    site's own patients, and `fits` their calibration. Results that a disclosure rule forbids are
    left out and noted in `withheld`. `strata` has, of a set that this site alone holds, the areas
    within levels, by set and stratum. `membership` says how well the final models tell the site's
    training patients from its test patients; None where it has too few of either. `releases` has
    what all sets of patients that were asked about tell of single ones. `canaries` has what
    decoders find of patients planted in a copy of the totals; None where the site holds none.
    `followed` has, where the endpoint has a time, the measures of the site's own patients in sets
    over which no sum is masked.
    """

    site: str
    request: str
    counts: dict[str, tuple[Patients, Patients]]
    evaluations: dict[str, Evaluation]
    parts: dict[str, DeLongResult]
    withheld: tuple[Refusal, ...]
    strata: dict[str, dict[str, LevelAreas]] = field(default_factory=dict)
    membership: MembershipAudit | None = None
    releases: ReleaseAudit | None = None
    canaries: CanaryAudit | None = None
    fits: dict[str, CalibrationFit] = field(default_factory=dict)
    followed: dict[str, FollowUpFindings] = field(default_factory=dict)


@plain
class Refused:
    """Reply in place of any other: the refusals of the site.

    At enrolment `refusals` are those without which the study cannot go on, and `withheld` those
    without which it can.
    """

    refusals: tuple[Refusal, ...]
    site: str = ""
    withheld: tuple[Refusal, ...] = ()


@plain
class Problem:
    """Reply in place of any other after an error at the site.

    Only a code of `problems.PROBLEMS` or of the gate, and the id of an entry in the site's own log:
    the text of an error can carry a patient's name or a path. `site` is empty where the node could
    not read its site.toml.
    """

    kind: str
    log_id: str
    site: str = ""


def answers(request: Any, reply: Any, site: str) -> bool:
    """Return whether a reply names this site and repeats the request's `echo`, types included."""
    wanted = {"site": site, **request.echo}
    given = {name: getattr(reply, name) for name in wanted}
    return all(type(given[name]) is type(wanted[name]) for name in wanted) and given == wanted


@dataclass(frozen=True)
class Exchange:
    """Kind of message: the classes of its request and its reply."""

    request: type[Any]
    reply: type[Any]
    purpose: str


CATALOGUE: dict[str, Exchange] = {
    "query.enrol": Exchange(EnrolRequest, EnrolReply, "say who takes part and with how many"),
    "query.key": Exchange(KeyRequest, KeyReply, "agree on a key that the coordinator lacks"),
    "query.agree": Exchange(AgreeRequest, AgreeReply, "take the others' parts of that key"),
    "query.follow": Exchange(FollowRequest, FollowReply, "hear of sums that others were asked for"),
    "query.sum": Exchange(SumRequest, SumReply, "sums of additive statistics"),
    "train.network": Exchange(TrainRequest, TrainReply, "local training of a network"),
    "query.sign": Exchange(SignRequest, SignReply, "sign whose updates a sum holds"),
    "query.open": Exchange(OpenRequest, OpenReply, "reveal the masks that are left in that sum"),
    "query.rows": Exchange(RowsRequest, RowsReply, "out-of-fold probabilities for the stacker"),
    "evaluate.handout": Exchange(EvaluateRequest, EvaluateReply, "score the site's test patients"),
}
STATISTICS = statistic_classes()
REPLIES_IN_PLACE: tuple[type[Any], ...] = (Refused, Problem)
