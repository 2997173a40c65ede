"""Whatever is signed and revealed, one sum of a step opens at most, and no update alone.

Hospitals follow the rule in `client.store.openings`; a coordinator and the hospitals on its side do
as they like. What they then know of the updates follows from linear algebra: masked updates are
sums of unknown numbers, of which some were revealed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import null_space

from client.site import SiteSettings
from client.store.openings import Openings
from client.store.site_db import site_db
from common.disclosure.rule import BrokenRuleError
from common.errors import SignatureError
from common.masking import identity
from common.masking.fixed_point import to_text
from common.messages.opening import PURPOSE, Opening
from common.study.model import Study
from common.study.training import colluders_stood
from sim.sites import simulated_identity, with_identities
from tests import builders

SITES, QUORUM, ATTEMPTS, RUN = "abcde", 4, 3, "r"
SIDE = "d"  # sides with the coordinator
HONEST = "".join(site for site in SITES if site not in SIDE)
SETS = ["".join(few) for size in (4, 5) for few in itertools.combinations(SITES, size)]
Step = tuple[str, int, str, str]


def made_study() -> Study:
    network = {
        "base_models": ["dl3d"],
        "dl3d": {"rounds": 2},
        "training": {"quorum": QUORUM, "patience": 1.0},
        "privacy": {"max_departures": 60},
    }
    return with_identities(builders.study(sites=SITES, **network))


def opening(attempt: int, sites: Sequence[str]) -> Opening:
    ordered = tuple(site for site in SITES if site in sites)
    return Opening("s", 0, "q", "dl3d", "final", 0, tuple(SITES), ordered, attempt)


class World:
    """Hospitals with their own memory, and all that a coordinator has from them."""

    def __init__(self, folder: Path, study: Study) -> None:
        self.study, self.digest = study, study.digest()
        self.sites = {site: self._site(folder / site, site) for site in SITES}
        self.signatures: dict[tuple[int, str], dict[str, Any]] = {}
        self.revealed: set[tuple[str, int, str]] = set()

    def _site(self, folder: Path, site: str) -> Openings:
        folder.mkdir()
        identity.save(simulated_identity(site), folder / "key.pem")
        own = SiteSettings(name=site, work=folder / "work", identity=folder / "key.pem")
        db = site_db(own.work)
        key, pairs = to_text(bytes(32)), {o: to_text(bytes(32)) for o in SITES if o != site}
        for attempt in range(ATTEMPTS):
            one = opening(attempt, SITES)
            context = one.context(RUN, self.digest).hex()
            stored = json.dumps({"own": key, "pairs": pairs})
            db.keep_step_keys(self.digest, RUN, one.step, context, stored)
        masks: Any = None  # nothing is hidden here
        return Openings(own, self.study, RUN, masks)

    def do(self, what: str, attempt: int, sites: str, site: str) -> None:
        """Let a hospital sign, or reveal; it may refuse."""
        one, known = opening(attempt, sites), self.signatures.setdefault((attempt, sites), {})
        if site in SIDE:
            if site in sites and what == "sign":
                statement = one.statement(RUN, self.digest)
                signature = identity.sign(simulated_identity(site), PURPOSE, statement)
                known[site] = np.frombuffer(signature, dtype=np.uint8)
            return
        try:
            if what == "sign":
                signature = self.sites[site].sign(one, self.study.privacy)
                known[site] = np.frombuffer(signature, dtype=np.uint8)
            else:
                self.sites[site].reveal(one, known, self.study.privacy)
                self.revealed.add((site, attempt, sites))
        except (BrokenRuleError, SignatureError):
            pass

    def known_of_updates(self) -> NDArray[np.float64]:
        """Return the sums of honest updates that are known: a basis, one row each."""
        own = [(site, a) for a in range(ATTEMPTS) for site in SITES]
        pairs = [(*pair, a) for a in range(ATTEMPTS) for pair in itertools.combinations(SITES, 2)]
        masks: list[Any] = [*own, *pairs]
        known = {m for m in masks if set(m[:-1]) & set(SIDE)}
        for site, a, opened in self.revealed:
            known.add((site, a))
            known |= {(*sorted(site + o), a) for o in SITES if o not in opened}
        hidden = [m for m in masks if m not in known]
        rows, updates = np.zeros((len(own), len(hidden))), np.zeros((len(own), len(HONEST)))
        for row, (site, a) in enumerate(own):
            for place, mask in enumerate(hidden):
                if mask[-1] == a and site in mask[:-1]:
                    rows[row, place] = -1.0 if len(mask) == 3 and mask[1] == site else 1.0
            if site in HONEST:
                updates[row, HONEST.index(site)] = 1.0
        combined = null_space(rows.T).T @ updates if hidden else updates
        return np.round(combined, 9)


@pytest.fixture(scope="module")
def study() -> Study:
    return made_study()


@pytest.fixture
def world(study: Study, tmp_path: Path) -> Iterator[World]:
    yield World(tmp_path, study)


def check(world: World) -> int:
    """Return how many sums of honest updates are known: one at most, over whom it was signed."""
    found = world.known_of_updates()
    rank = int(np.linalg.matrix_rank(found, tol=1e-6)) if found.size else 0
    assert rank <= 1
    if rank:
        row = max(found, key=lambda one: float(np.abs(one).max()))
        inside = {site for site, value in zip(HONEST, row, strict=True) if abs(value) > 1e-6}
        assert np.ptp(row[np.abs(row) > 1e-6]) < 1e-6, "not all weigh the same"
        assert any(inside == set(opened) & set(HONEST) for _, _, opened in world.revealed)
    return rank


def test_so_many_may_side_with_the_coordinator() -> None:
    assert len(SIDE) <= colluders_stood(QUORUM, len(SITES))


def test_a_sum_that_all_signed_opens(world: World) -> None:
    for what in ("sign", "reveal"):
        for site in SITES:
            world.do(what, 0, "abcde", site)
    assert check(world) == 1


def test_after_a_hospital_did_not_sign_another_sum_opens(world: World) -> None:
    for site in "abcd":
        world.do("sign", 0, "abcde", site)
    for what in ("sign", "reveal"):
        for site in "abcd":
            world.do(what, 1, "abcd", site)
    assert check(world) == 1


def test_a_sum_that_one_revealed_for_and_the_others_renounced_stays_closed(world: World) -> None:
    for site in SITES:
        world.do("sign", 0, "abcde", site)
    world.do("reveal", 0, "abcde", "a")
    for what, attempt, few in (("sign", 1, "bcde"), ("reveal", 1, "bcde"), ("reveal", 0, SITES)):
        for site in few:
            world.do(what, attempt, few, site)
    assert check(world) == 1
    assert {opened for _, a, opened in world.revealed if a == 1} == {"bcde"}


ACTS = st.tuples(
    st.sampled_from(["sign", "reveal", "sign all", "reveal all"]),
    st.integers(0, ATTEMPTS - 1),
    st.sampled_from(SETS),
    st.sampled_from(SITES),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTS, min_size=4, max_size=16))
def test_whatever_a_coordinator_asks_it_learns_one_sum_over_a_quorum_at_most(
    acts: list[Step],
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder), made_study())
        for what, attempt, sites, site in acts:
            for one in SITES if what.endswith("all") else site:
                world.do(what.partition(" ")[0], attempt, sites, one)
        check(world)


def test_the_algebra_sees_an_update_that_the_same_masks_would_give_away(world: World) -> None:
    """As if a had opened the sum of all under the masks of the attempt in which the others did."""
    world.revealed = {("a", 0, "abcde"), *((site, 0, "bcde") for site in "bce")}
    found = world.known_of_updates()
    assert np.linalg.matrix_rank(found, tol=1e-6) == 2
    with pytest.raises(AssertionError):
        check(world)
