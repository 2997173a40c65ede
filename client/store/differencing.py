"""With whom a site's sums were hidden before, and what a further sum would tell beside them.

A site hears only of sums that it gave a part of. Several of them may tell of another site's
numbers together with sums that this one had no part in; so all that a study declares is looked at,
for every study in which this site gave sums of the same patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from client.store.ledger import Companions
from client.store.state import recall_study
from common.disclosure.differencing import few_told
from common.errors import StudyError
from common.study.model import FEWEST_MASKED, Study
from common.study.sums import masked_over, split_of

Sites = frozenset[str]


class EarlierSums:
    """The earlier sums of one site, as one study sees them.

    Parameters
    ----------
    work : the site's work folder.
    left : site and roster digest of those that left for good, and have signed so.
    """

    def __init__(self, work: Path, study: Study, left: Iterable[tuple[str, str]]) -> None:
        self._work, self._study, self._left = work, study, frozenset(left)
        self._studies: dict[str, Study | None] = {study.digest(): study}
        self._checked: dict[tuple[object, ...], bool] = {}

    def gone(self, earlier: Companions) -> set[str]:
        """Sites of an earlier sum that have left for good."""
        return {site for site in earlier.participants if (site, earlier.roster) in self._left}

    def tell_too_much(self, subset: str, now: Iterable[str], known: Iterable[Companions]) -> bool:
        """Whether a sum among `now` would give fewer than three sites away by subtraction.

        Who left for good has allowed that its own numbers are found, and from then on hides nobody
        else; who takes part again counts again.

        Parameters
        ----------
        known : of earlier sums over the same patients of this site.
        """
        members, earlier = frozenset(now), tuple(known)
        key = (subset, members, earlier)
        if key not in self._checked:
            self._checked[key] = self._tell(subset, members, earlier)
        return self._checked[key]

    def _tell(self, subset: str, now: Sites, earlier: tuple[Companions, ...]) -> bool:
        given = [self._staying(one, now) for one in earlier]
        if any(0 < len(now ^ one) < FEWEST_MASKED for one in given):
            return True
        split = split_of(self._study, subset)
        own = map(frozenset, masked_over(self._study, split).values())
        declared = (
            self._staying(one._replace(participants=sites), now)
            for one in earlier
            for sites in self._declared(one.study, split)
        )
        together = {now, *given, *own, *declared}
        return bool(few_told([sites for sites in together if len(sites) >= FEWEST_MASKED]))

    def _staying(self, earlier: Companions, now: Sites) -> Sites:
        return frozenset(earlier.participants) - (self.gone(earlier) - now)

    def _declared(self, digest: str, split: str) -> Iterator[tuple[str, ...]]:
        """Sites of all masked sums of an earlier study; none where it is no longer at hand."""
        if digest not in self._studies:
            try:
                self._studies[digest] = recall_study(self._work, digest)
            except (StudyError, ValueError):
                self._studies[digest] = None
        study = self._studies[digest]
        if study is not None:
            yield from masked_over(study, split).values()
