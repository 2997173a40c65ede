"""`flwr run .` without settings has as many hospitals as SuperNodes."""

from __future__ import annotations

import pytest

from common.errors import UsageError
from common.study.model import parse_study
from sim.demonstration import demonstration_plan
from sim.phantom.generate import study_text


@pytest.mark.parametrize(
    ("nodes", "training", "external"),
    [(2, 2, 0), (3, 2, 1), (4, 3, 1), (5, 4, 1), (6, 4, 2), (10, 4, 2)],
)
def test_the_demonstration_fits_the_nodes(nodes: int, training: int, external: int) -> None:
    plan = demonstration_plan(nodes)
    study = parse_study(study_text(plan, 1))
    assert len(study.training_sites) == training
    assert len(study.sites) == training + external
    assert len(study.test_sets) == 1 + external


def test_one_node_is_not_a_federation() -> None:
    with pytest.raises(UsageError, match=r"1 SuperNode.*num-supernodes=6"):
        demonstration_plan(1)
