"""Disclosure rules as objects: what each protects, where its threshold stands, and its check.

A module of this folder that declares a rule is found by itself: the checks of a sum, the dossier,
the approval of a study, the gate and the remedies all read `RULES`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import RefusedError
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.study.model import MASKING, MODES, PrivacySettings, Study
from common.transforms.views import View

_LOG = logging.getLogger("fedlnm.site")
_CHOICES: dict[str, tuple[Any, ...]] = {"mode": MODES, "masking": MASKING}


def stricter(study: PrivacySettings, site: PrivacySettings | None) -> PrivacySettings:
    """Return the stricter of each of the study's thresholds and those of the site's own file.

    The larger of minima, the smaller of maxima (`max_...`). Thresholds that the site does not
    mention are the study's, except for `faithful`, which a site must name itself.
    """
    said = {} if site is None else {name: getattr(site, name) for name in site.model_fields_set}
    said.setdefault("mode", MODES[0])
    return study.model_copy(
        update={name: _stricter(name, getattr(study, name), own) for name, own in said.items()}
    )


def _stricter(name: str, study: Any, site: Any) -> Any:
    if name in _CHOICES:
        return min(study, site, key=_CHOICES[name].index)
    return min(study, site) if name.startswith("max_") else max(study, site)


Refusals = tuple[Refusal, ...]
TRAIN = "train"


@dataclass(frozen=True)
class Rule:
    """One disclosure rule.

    Parameters
    ----------
    name : in refusals, in the dossier and in messages.
    protects : what a breach would reveal.
    text : one to three sentences for a data protection officer.
    setting : field of the study's `[privacy]` that holds the threshold; empty when it is fixed.
    fixed : the threshold where no setting holds it.
    sums : kinds of statistic (its `kind`) that the rule is applied to.
    check : say why a sum of one of these kinds is refused, empty where it is not; None where that
        takes what a site remembers.
    describes : sums of these kinds may also be made of test patients.
    decided_here : one site's own patients and files decide it, so the check of a site can try it.
    remedy : what the coordinator is advised where more patients would not help.
    remedy_here : the same for the hospital.
    way : one more way to let a site in, beside more patients; `{site}` is its name.
    """

    name: str
    protects: str
    text: str
    setting: str = ""
    fixed: float = 0.0
    sums: tuple[str, ...] = ()
    check: Callable[[SumQuery], str] | None = None
    describes: bool = False
    decided_here: bool = False
    remedy: str = ""
    remedy_here: str = ""
    way: str = ""

    def threshold(self, privacy: PrivacySettings) -> float:
        """Return the threshold in force."""
        return float(getattr(privacy, self.setting) if self.setting else self.fixed)


RULES: dict[str, Rule] = {}


def declare(*rules: Rule) -> None:
    """Add rules to `RULES`, in the order that people read.

    Raises
    ------
    TypeError : another rule has this name.
    """
    for rule in rules:
        if rule.name in RULES:
            raise TypeError(f"two disclosure rules are called {rule.name}")
        RULES[rule.name] = rule


def forget(name: str) -> None:
    """Take a rule out again."""
    del RULES[name]


def rules_of(kind: str) -> tuple[Rule, ...]:
    """Return the rules for sums of one kind of statistic, on top of those for every sum.

    A kind that no rule lets describe test patients comes with the rule `subset`.
    """
    found = [rule for rule in RULES.values() if kind in rule.sums]
    if found and not describes(kind) and RULES["subset"] not in found:
        found.append(RULES["subset"])
    return tuple(found)


def describes(kind: str) -> bool:
    """Return whether sums of this kind may be made of test patients."""
    return any(rule.describes for rule in RULES.values() if kind in rule.sums)


class BrokenRuleError(RefusedError):
    """A rule was found broken while an answer was being computed; the refusals take its place."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__("; ".join(refusal_words(one) for one in refusals))
        self.refusals = refusals


def refusal(rule: str, privacy: PrivacySettings, subset: str, detail: str = "") -> Refusal:
    """Return the refusal of a rule with its threshold in force, never the value that fell short.

    Parameters
    ----------
    subset : "train" or a test set; empty where the rule is about no set of patients.
    detail : for the site's own log, as it may depend on the patients.

    Raises
    ------
    KeyError : no rule has this name.
    """
    threshold = RULES[rule].threshold(privacy)
    if detail:
        _LOG.info("rule %s, %s: %s", rule, subset or "study", detail)
    return Refusal(rule=rule, threshold=threshold, subset=subset)


def fall_short(
    privacy: PrivacySettings, subset: str, found: Mapping[str, float], detail: str = ""
) -> Refusals:
    """Refuse by every rule whose threshold is above the number found for it.

    Parameters
    ----------
    found : numbers of a site's own patients, by name of the rule that sets their minimum.
    """
    short = [rule for rule, number in found.items() if number < RULES[rule].threshold(privacy)]
    return once(refusal(rule, privacy, subset, detail) for rule in short)


def once(refusals: Iterable[Refusal]) -> Refusals:
    """Return one refusal for each rule and subset, in the order of `RULES` and of the names.

    So neither their number nor their order tells how often, or where first, a rule was broken.
    """
    found = {(one.rule, one.subset): one for one in refusals}
    places = {name: place for place, name in enumerate(RULES)}
    order = sorted(found, key=lambda key: (places[key[0]], key[1]))
    return tuple(found[key] for key in order)


def refusal_words(one: Refusal) -> str:
    """Return a refusal in words: rule, threshold, patients, and what the rule protects."""
    rule = RULES.get(one.rule)
    protects = f" (protects {rule.protects})" if rule else ""
    return f"rule {one.rule}, threshold {one.threshold:g}, {patients_of(one.subset)}{protects}"


def patients_of(subset: str) -> str:
    """Return the words for a subset of patients."""
    if not subset:
        return "the study as a whole"
    return "training patients" if subset == "train" else f"patients of {subset}"


@dataclass(frozen=True)
class SumQuery:
    """Statistic over a view of a subset, and the rows of this site that would enter."""

    statistic: Any
    view: View
    rows: Rows
    subset: str
    study: Study
    privacy: PrivacySettings

    @property
    def trains(self) -> bool:
        """True when the rows are training rows."""
        return self.subset == "train"

    @property
    def alone(self) -> bool:
        """True when this site holds the subset alone: a sum over it is the site's own table."""
        return len(self.study.members(self.subset)) == 1

    @property
    def seen(self) -> bool:
        """True when somebody can see the site's own part of the sum."""
        return not self.study.masked(self.subset)

    def refuse(self, rule: str, detail: str = "") -> Refusals:
        """Return the one refusal of this rule, the same whatever broke it; see `refusal`."""
        return (refusal(rule, self.privacy, self.subset, detail),)
