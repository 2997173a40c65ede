"""Block [training] of the study file: how many hospitals a round of a network's training needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from common.masking import FEWEST
from common.study.block import Settings

if TYPE_CHECKING:
    from common.study.strategy import StrategySpec


class TrainingSettings(Settings):
    """Number of training sites that a round needs, and how long it waits for the others.

    With `quorum = 0` every round waits for all. Otherwise a round goes on without the sites that
    are still away `patience` seconds after so many have answered; they come back with the next
    training. Sums of statistics wait for every site whatever is written here.
    """

    quorum: int = Field(0, ge=0)
    patience: float = Field(600.0, gt=0)


def fewest_of(sites: int) -> int:
    """Return the smallest quorum of so many sites: two that know different sums share a site.

    >>> [fewest_of(sites) for sites in (3, 4, 5, 8, 9)]
    [3, 3, 3, 5, 5]
    """
    return max(FEWEST, sites // 2 + 1)


def colluders_stood(quorum: int, sites: int) -> int:
    """Return how many sites may side with the coordinator before two sums of a step could open.

    Two sets of `quorum` sites share 2 quorum - n of them; one has to be honest.

    >>> colluders_stood(3, 5), colluders_stood(4, 5)
    (0, 2)
    """
    return max(0, 2 * quorum - sites - 1)


def check_quorum(
    settings: TrainingSettings, sites: int, masked: bool, networks: dict[str, type[StrategySpec]]
) -> None:
    """Check that sums over a quorum hide every site, and that the strategies can do without some.

    Parameters
    ----------
    sites : number of sites that train.
    networks : strategy of each network.

    Raises
    ------
    ValueError : with what to write instead.
    """
    quorum = settings.quorum
    if not 0 < quorum < sites:
        if quorum > sites:
            raise ValueError(f"[training] quorum is {quorum}, and {sites} sites train")
        return
    if quorum < fewest_of(sites):
        raise ValueError(
            f"[training] quorum is at least {fewest_of(sites)} of {sites} training sites: more than"
            " half, and three"
        )
    if not masked:
        raise ValueError("[training] quorum needs masked sums: it says whose masks are taken off")
    for name, spec in networks.items():
        if spec.needs_all_sites:
            raise ValueError(
                f"[{name}] strategy {spec.name} {spec.needs_all_sites}, so every round needs all"
                " sites: leave [training] quorum at 0, or choose another strategy"
            )
