"""Answer of a site to a round that can do without some of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.training.objection import object_to
from client.workspace import Workspace
from common.masking.narrow import pack
from common.masking.update import SUMS, Update, to_sums_ring, to_update_rings
from common.messages.exchanges import TrainReply, TrainRequest


def answer_step(workspace: Workspace, request: TrainRequest, update: Update) -> TrainReply:
    """Return a site's update under masks of its own and of pairs.

    Its five sums travel apart, under masks that only those of all training sites cancel: a loss of
    a few sites would say more than a round needs.
    """
    study, invited = workspace.study, request.plan.invited
    sites = len(study.training_sites)
    bare = replace(update, sums=np.zeros(SUMS))
    rings = to_update_rings(bare, request.running, sites, request.plan.grid)
    whole = set(invited) == set(study.training_sites)
    sums = to_sums_ring(update.sums, sites) if whole else np.zeros(0, dtype=np.uint64)
    keys = workspace.openings.begin(request)
    vectors: dict[str, NDArray[Any]] = {"parameters": rings.parameters, "narrow": rings.narrow}
    vectors["statistics"] = rings.statistics
    fingerprints = workspace.group.of_step(request, tuple(vectors.values()), keys)
    apart = workspace.group.of_apart(request, sums)
    workspace.openings.hide(request, keys, vectors)
    sums = workspace.masks.hide(
        sums,
        subset="train",
        keys=request.keys,
        exchange=f"{request.session}/{request.number}",
        digest=request.digest,
        item="sums",
    )
    return TrainReply(
        site=workspace.name,
        **request.echo,
        parameters=rings.parameters,
        narrow=pack(rings.narrow, request.plan.grid.width),
        statistics=rings.statistics,
        epsilon=workspace.releases.epsilon(),
        objection=object_to(workspace, request, update) if whole else (),
        fingerprints=np.concatenate([fingerprints, apart]),
        sums=sums,
        departures=workspace.openings.departures_left(workspace.privacy),
    )
