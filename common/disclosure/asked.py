"""Request for one sum, with everything that a rule may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.disclosure.refusing import Refusals, refusal
from common.messages.exchanges import Refusal
from common.statistics.base import Rows
from common.study.model import PrivacySettings, Study
from common.transforms.views import View


@dataclass(frozen=True)
class Asked:
    """Statistic over a view of a subset, and the rows of this site that would enter.

    Parameters
    ----------
    privacy : thresholds in force at the site.
    """

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

    def refuse(self, rule: str, subject: str) -> Refusals:
        """Return the only refusal of this rule."""
        return (refusal(rule, self.privacy, subject),)

    def stands_alone(self) -> Refusals:
        """Refuse rows of a test set that are too few to publish by themselves; none at all pass."""
        found: list[Refusal] = []
        if 0 < self.rows.n < self.privacy.min_rows:
            found.append(refusal("rows", self.privacy, f"patients of {self.subset}"))
        return tuple(found)
