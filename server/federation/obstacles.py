"""Collect all that keeps sites out of a study, and what would let each in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from common.disclosure.rule import RULES, TRAIN, refusal_words
from common.errors import RefusedError, SiteError
from common.messages.exchanges import Refusal, Refused
from common.study.model import FEWEST_MASKED, Study
from common.utils.text_file import on_one_line

_MORE_PATIENTS = "bring more patients or agree on another threshold in study and site"
MISSING = "start it, or take it off the roster"


@dataclass(frozen=True)
class Obstacle:
    """One reason why a site cannot take part.

    Parameters
    ----------
    subset : "train" or a test set where a disclosure rule is about it, else empty.
    what : a refusal or a problem, in words.
    remedy : what would let the site in.
    rule, threshold : of a disclosure rule; empty and None for any other problem.
    """

    site: str
    what: str
    remedy: str
    subset: str = ""
    rule: str = ""
    threshold: float | None = None

    def __str__(self) -> str:
        advice = f" -> {self.remedy}" if self.remedy else ""
        return f"site {self.site}: {self.what}{advice}"


class ObstaclesError(RefusedError, SiteError):
    """Sites refuse, or cannot go on, or both; every reason of every site is in `rows`.

    Parameters
    ----------
    note : sums that the others could not mask without them; empty where they could go on.
    """

    def __init__(self, rows: Sequence[Obstacle], note: str = "") -> None:
        self.rows, self.note = tuple(rows), note
        if len(self.rows) == 1:
            (one,) = self.rows
            also = f" ({note})" if note else ""
            super().__init__(one.what, where=f"site {one.site}", remedy=f"{one.remedy}{also}")
            return
        sites = len({row.site for row in self.rows})
        who = f"{sites} sites cannot take part" if sites > 1 else "one site cannot take part"
        listed = "; ".join(f"site {row.site}: {row.what}" for row in self.rows)
        super().__init__(
            f"{who}, for {len(self.rows)} reasons: {listed}{f'; {note}' if note else ''}",
            remedy="the table of reasons says what would let each site in",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the table for events and --json."""
        return {"rows": [asdict(row) for row in self.rows], "note": self.note}


@dataclass
class Roll:
    """The roster of a study while its sites enrol.

    Parameters
    ----------
    waiting : sites that have not answered.
    obstacles : all that stands against the study so far, in the order of the answers.
    """

    study: Study
    waiting: set[str] = field(init=False)
    obstacles: list[Obstacle] = field(default_factory=list)
    _nameless: int = 0

    def __post_init__(self) -> None:
        self.waiting = set(self.study.site_names)

    @property
    def complete(self) -> bool:
        """Tell whether every site has answered.

        A node of a simulation has no name, and one that cannot read its site.toml cannot say which
        site it is: it stands for one of those that are waited for.
        """
        return len(self.waiting) <= self._nameless

    def answered(self, site: str) -> None:
        """Note that a site takes part."""
        self.waiting.discard(site)

    def refused(self, site: str, answer: Refused) -> None:
        """Note everything that a site refuses; its first answer counts."""
        if site in self.study.site_names and site not in self.waiting:
            return
        self.obstacles += [of_refusal(site, one, self.study) for one in answer.refusals]
        self._gone(site)

    def cannot(self, site: str, node: str, error: SiteError) -> None:
        """Note that a site cannot go on.

        Parameters
        ----------
        site : its name, empty where the node does not know it.
        node : its name in that case.
        """
        self.obstacles.append(Obstacle(site or node, error.what, error.remedy))
        self._gone(site)

    def give_up(self) -> None:
        """Stop waiting; whoever has not answered is named."""
        late = sorted(self.waiting)
        self.obstacles += [Obstacle(site, "not enrolled in time", MISSING) for site in late]
        self.waiting.clear()

    def _gone(self, site: str) -> None:
        if site in self.study.site_names:
            self.waiting.discard(site)
        else:
            self._nameless += 1


def remedy_of(one: Refusal) -> str:
    """Return what to do about a refusal in the middle of a run."""
    rule = RULES.get(one.rule)
    return rule.remedy if rule and rule.remedy else _MORE_PATIENTS


def of_refusal(site: str, one: Refusal, study: Study) -> Obstacle:
    """Return a refusal as a row, with the setting and the role that would let the site in."""
    what, remedy = refused_words(one), _lets_in(site, one, study)
    return Obstacle(site, what, remedy, one.subset, one.rule, one.threshold)


def refused_words(one: Refusal) -> str:
    """Return that a site refuses, and what."""
    return f"refuses: {refusal_words(one)}"


def _lets_in(site: str, one: Refusal, study: Study) -> str:
    rule = RULES[one.rule]
    if rule.remedy:
        return rule.remedy
    setting = rule.setting
    ways = ["more patients"]
    if setting:
        own = one.threshold != getattr(study.privacy, setting)
        place = f"site.toml of {site}" if own else "study.toml"
        ways.append(f"another privacy.{setting} in {place}")
    if rule.way:
        ways.append(rule.way.format(site=site))
    if one.subset not in ("", TRAIN):
        ways.append(f"no {site} in the test set {one.subset}")
    else:
        tests = any(site in test.sites for test in study.test_sets)
        ways.append(f"trains = false for {site}" if tests else f"no {site} in the roster")
    return f"{', '.join(ways[:-1])}, or {ways[-1]}"


def without(rows: Sequence[Obstacle], study: Study) -> str:
    """Say which sums the other sites could not mask without the sites of these rows.

    A site whose rows are all about one test set is missed in that set alone.
    """
    said = []
    for subset in (TRAIN, *(test.name for test in study.test_sets)):
        members = study.members(subset)
        gone = {row.site for row in rows if row.subset in ("", subset)}
        left = [name for name in members if name not in gone]
        if len(left) == len(members):
            continue
        if not left:
            said.append(_role(subset, 0))
        elif study.privacy.masking == "required" and _too_few(subset, len(left)):
            said.append(f"{_role(subset, len(left))}, and masking takes {FEWEST_MASKED}")
    names = ", ".join(dict.fromkeys(row.site for row in rows))
    return f"without {names}, {'; '.join(said)}" if said else ""


def _too_few(subset: str, left: int) -> bool:
    """Tell if sums over so many sites would be refused; one site's test set has none."""
    return (1 if subset == TRAIN else 2) <= left < FEWEST_MASKED


def _role(subset: str, left: int) -> str:
    count = f"{left or 'no'} site{'' if left == 1 else 's'}"
    return f"{count} would train" if subset == TRAIN else f"{count} would hold {subset}"


def obstacle_table(rows: Sequence[Obstacle], title: str = "Who cannot take part, and why") -> Table:
    """Return the table that a person reads: one row a reason."""
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading in ("site", "set", "reason", "what would let it in"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            *(escape(on_one_line(t)) for t in (row.site, row.subset, row.what, row.remedy))
        )
    return table
