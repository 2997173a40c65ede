"""Where a network starts: pretrained weights when the study names them, else random ones."""

from __future__ import annotations

from pathlib import Path

from common.networks.pretrained import load_pretrained
from common.networks.resnet import Kind, ScoringNetwork, build_network
from common.study.networks import NetworkSettings


def initial_network(kind: Kind, settings: NetworkSettings, seed: int) -> tuple[ScoringNetwork, str]:
    """The network before training, and a sentence for the report on what it started from.

    Raises
    ------
    InputError : pretrained weights that are missing, changed or do not fit.
    """
    network = build_network(kind, settings, seed)
    if not settings.pretrained:
        return network, "the network started from random weights, not from pretrained ones"
    path = Path(settings.pretrained)
    return network, load_pretrained(network, kind, path, settings.pretrained_sha256)
