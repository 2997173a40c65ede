"""Keep the roll at enrolment: sites that answered, and reasons why some cannot take part."""

from __future__ import annotations

from dataclasses import dataclass, field

from common.errors import SiteError
from common.messages.exchanges import Refused
from common.study.model import Study
from server.federation.obstacles import MISSING, Obstacle, of_refusal


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
        """Tell if every site has answered.

        A node of a simulation has no name, and one that cannot read its site.toml cannot say which
        site it is: it stands for one of those that are waited for.
        """
        return len(self.waiting) <= self._nameless

    def answered(self, site: str) -> None:
        """Note that a site takes part."""
        self.waiting.discard(site)

    def refused(self, site: str, answer: Refused) -> None:
        """Note everything that a site refuses; what it says first counts."""
        if site in self.study.site_names and site not in self.waiting:
            return
        self.obstacles += [of_refusal(site, one, self.study) for one in answer.refusals]
        self._gone(site)

    def cannot(self, site: str, node: str, error: SiteError) -> None:
        """Note that a site cannot go on.

        Parameters
        ----------
        site : its name, empty where the node does not know it.
        node : what to call it then.
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
