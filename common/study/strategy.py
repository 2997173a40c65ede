"""Names and options of the strategies, which turn the sites' shares of a round into new weights."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from common.study.block import Positive, Settings

StrategyName = Literal[
    "fedavg",
    "fedprox",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedbn",
    "scaffold",
    "fednova",
    "fedmedian",
    "krum",
]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
# they compare the sites' changes with each other, so a sum of them is useless
SINGLE_UPDATES: tuple[StrategyName, ...] = ("fedmedian", "krum")


class StrategyOptions(Settings):
    """Options of the strategies, each read by the strategies named with it.

    `proximal_mu` pulls a site's weights towards those it was sent (fedprox). `server_rate` is the
    step along the sites' mean change; 0 stands for the strategy's own, 1 (fedavgm) or 0.01
    (fedadam, fedyogi). `server_momentum` is of fedavgm; `beta_1`, `beta_2` and `tau` are of fedadam
    and fedyogi. `malicious_sites` is the number of sites that krum tolerates.
    """

    proximal_mu: float = Field(0.01, ge=0)
    server_rate: float = Field(0.0, ge=0, description="0 = the strategy's own")
    server_momentum: float = Field(0.9, ge=0, lt=1)
    beta_1: float = Field(0.9, ge=0, lt=1)
    beta_2: float = Field(0.99, ge=0, lt=1)
    tau: Positive = 1e-3
    malicious_sites: int = Field(0, ge=0)


def refusal_of_masks(name: StrategyName) -> str:
    """Return why a strategy cannot work on masked sums; empty where it can."""
    if name not in SINGLE_UPDATES:
        return ""
    return (
        f'strategy "{name}" compares the changes of single sites, and masks show the coordinator'
        ' their sum alone: choose another strategy, or privacy.masking = "off", with which it sees'
        " what each site has learnt"
    )
