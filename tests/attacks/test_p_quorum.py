"""Attack (p): rounds that go on without hospitals, and a coordinator that chooses without whom.

The sum over some sites opens where all of them signed it. A coordinator that opened two sums of one
step, or sums that differ by one site, would have that site's update by subtraction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client.store.site_db import site_db
from client.training import round as site_round
from client.training.batches import Crops
from common.errors import RefusedError, SiteError, StudyError
from common.masking.fixed_point import from_text
from common.masking.step import StepKeys, hide_step, open_step, step_keys
from common.masking.update import from_ring32
from common.messages.exchanges import RoundPlan, TrainRequest
from common.messages.opening import Opening, OpenRequest, SignRequest
from server.federation.federation import Federation
from server.progress.screen import describe
from tests import builders
from tests.attacks.test_m_chosen_seeds import NETWORK, NOTHING, network_of
from tests.conftest import write_tabular_hospital

pytestmark = pytest.mark.usefixtures("server_identity", "declares_dl3d", "one_number")
SITES, PATIENTS = "abcde", 20
TOTAL = PATIENTS * len(SITES)
SMALL = {"min_rows_per_fold": 4, "min_class_per_fold": 1, "max_departures": 2}


def crops_of(workspace: Any, kind: Any, patients: Any) -> Crops:
    label = np.array([patient.label for patient in patients], dtype=np.float32)
    images = np.broadcast_to(np.zeros((16, 16, 16), dtype=np.float32), (len(label), 16, 16, 16))
    return Crops(images, np.arange(len(label)), label)


@pytest.fixture
def one_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_round, "network_of", network_of)
    monkeypatch.setattr(site_round, "crops_of", crops_of)


@pytest.fixture
def federation(coordinator: Any, tmp_path: Path) -> Federation:
    """Five hospitals, of which a round needs three."""
    return hospitals(coordinator, tmp_path, SITES, SMALL)


def hospitals(coordinator: Any, folder: Path, sites: str, privacy: Mapping[str, int]) -> Federation:
    """Return hospitals of one letter each, of which a round needs just more than half."""
    for name in sites:
        write_tabular_hospital(folder / name, name, PATIENTS, 10, 10)
    tests = {"internal": ("internal_test", sites), "external_1": ("external_test", "c")}
    own = {**builders.TABULAR, "sites": sites, "tests": tests}
    builders.study_file(folder / "study.toml", **own)
    network = {**NETWORK, "local_steps": 5, "rounds": 20}
    training = {"quorum": len(sites) // 2 + 1, "patience": 0.001}
    study = coordinator.rehearse(folder, privacy=privacy, dl3d=network, training=training)
    made: Federation = study.federation()
    made.enrol()
    return made


@pytest.fixture
def works(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / "run" / "sites" / name / "work" for name in SITES}


def request_of(
    federation: Federation, number: int = 0, invited: Sequence[str] = SITES, variant: str = "final"
) -> TrainRequest:
    fold = -1 if variant == "final" else int(variant[-1])
    total = PATIENTS * len(federation.study.training_sites)
    plan = RoundPlan(1, 1.0, fold, total, False, round=number, invited=tuple(invited))
    return TrainRequest(
        run=federation.run,
        study=federation.study.digest(),
        session=federation.session,
        number=number,
        network="dl3d",
        variant=variant,
        weights=np.zeros(1, dtype=np.float32),
        running=NOTHING,
        plan=plan,
        keys=federation._keys(),
    )


def answers(federation: Federation, exchange: str, asked: dict[str, Any]) -> dict[str, Any]:
    return dict(federation._ask(exchange, asked, 60.0))


def updates(federation: Federation, request: TrainRequest) -> dict[str, NDArray[np.uint32]]:
    """Return every invited site's masked update."""
    replies = answers(federation, "train.network", dict.fromkeys(request.plan.invited, request))
    return {site: reply.parameters for site, reply in replies.items()}


def signed(federation: Federation, opening: Opening, by: Iterable[str]) -> dict[str, Any]:
    asked = SignRequest(federation.run, federation.study.digest(), opening)
    replies = answers(federation, "query.sign", dict.fromkeys(by, asked))
    return {site: reply.signature for site, reply in replies.items()}


def keys(
    federation: Federation, opening: Opening, signatures: dict[str, Any], of: Iterable[str]
) -> dict[str, StepKeys]:
    asked = OpenRequest(federation.run, federation.study.digest(), opening, signatures)
    replies = answers(federation, "query.open", dict.fromkeys(of, asked))
    return {
        site: StepKeys(
            reply.own.tobytes(), {other: key.tobytes() for other, key in reply.pairs.items()}
        )
        for site, reply in replies.items()
    }


def opened(federation: Federation, opening: Opening, sent: dict[str, Any]) -> float:
    """Open a sum as an honest coordinator does."""
    revealed = keys(
        federation, opening, signed(federation, opening, opening.opened), opening.opened
    )
    return taken_off(federation, opening, sent, revealed)


def taken_off(
    federation: Federation,
    opening: Opening,
    sent: dict[str, Any],
    revealed: dict[str, StepKeys],
) -> float:
    total = np.zeros(1, dtype=np.uint32)
    for site in opening.opened:
        total += sent[site]
    context = opening.context(federation.run, federation.study.digest())
    open_step({"parameters": total}, revealed, context)
    return float(from_ring32(total)[0])


def test_the_sum_over_a_quorum_opens(federation: Federation) -> None:
    request = request_of(federation)
    sent = updates(federation, request)
    opening = replace(request.opening, opened=tuple("abd"))
    change = opened(federation, opening, sent)
    shares = 3 * PATIENTS / TOTAL
    assert 0 < abs(change) <= 5 * shares  # five steps of at most a half each


def test_no_site_signs_two_sums_of_one_step(federation: Federation) -> None:
    request = request_of(federation)
    sent = updates(federation, request)
    opened(federation, replace(request.opening, opened=tuple(SITES)), sent)
    for others in ("abcd", "abc", "bcde"):
        for site in others:
            with pytest.raises(RefusedError, match="rule opened"):
                signed(federation, replace(request.opening, opened=tuple(others)), [site])


def test_different_sites_are_not_shown_different_sums(federation: Federation) -> None:
    """Three sites sign one sum, two another: neither can be opened."""
    request = request_of(federation)
    updates(federation, request)
    first = replace(request.opening, opened=tuple("abc"))
    second = replace(request.opening, opened=tuple("cde"))
    known = signed(federation, first, "ab")
    other = signed(federation, second, "cde")
    with pytest.raises(RefusedError, match="rule opened"):
        signed(federation, first, "c")
    for forged in (known, {**known, "c": other["c"]}, {**known, "c": known["a"]}):
        with pytest.raises(StudyError):
            keys(federation, first, forged, "a")


def test_keys_are_revealed_for_the_sum_that_was_signed_alone(federation: Federation) -> None:
    request = request_of(federation)
    updates(federation, request)
    opening = replace(request.opening, opened=tuple("abcd"))
    signatures = signed(federation, opening, "abcd")
    for other in (
        replace(opening, opened=tuple("abc")),
        replace(opening, opened=tuple("abce")),
        replace(opening, number=7),
        replace(opening, round=1),
        replace(opening, session="another"),
    ):
        with pytest.raises(StudyError):
            keys(federation, other, signatures, "a")
    again = keys(federation, opening, signatures, "a"), keys(federation, opening, signatures, "a")
    assert again[0] == again[1]
    assert set(again[0]["a"].pairs) == {"e"}


@pytest.mark.parametrize("few", ["ab", "a", "", "aab", "cba", "abz"])
def test_fewer_than_a_quorum_or_a_made_up_circle_is_not_signed(
    federation: Federation, few: str
) -> None:
    request = request_of(federation)
    updates(federation, request)
    with pytest.raises(StudyError):
        signed(federation, replace(request.opening, opened=tuple(few)), "a")


def test_a_live_site_that_is_called_away_keeps_its_update(
    federation: Federation, works: dict[str, Path]
) -> None:
    """Its answer is there, and the masks it shares are revealed; its own mask stays."""
    request = request_of(federation)
    sent = updates(federation, request)
    opening = replace(request.opening, opened=tuple("abcd"))
    revealed = keys(federation, opening, signed(federation, opening, "abcd"), "abcd")
    study, run = federation.study.digest(), federation.run
    context = opening.context(run, study)
    kept = site_db(works["e"]).step_keys(study, run, opening.step, context.hex())
    pairs = {site: own.pairs["e"] for site, own in revealed.items()}
    found = {}
    for own in (b"\0" * 32, from_text(json.loads(kept or "")["own"], 32)):
        alone = {"parameters": sent["e"].copy()}
        open_step(alone, {"e": StepKeys(own, pairs)}, context)
        found[own] = float(from_ring32(alone["parameters"])[0])
    guessed, update = found.values()
    assert 0 < abs(update) <= 1.0  # five steps of at most a half, times a fifth
    assert guessed != update


def test_without_a_mask_of_its_own_its_update_would_be_read(federation: Federation) -> None:
    """The variant of pairwise masks alone, which the protocol was built against."""
    context, name = b"step", "parameters"
    secrets = {pair: bytes([place]) * 32 for place, pair in enumerate(("ab", "ac", "bc"), start=1)}
    pairs = {s: {o: secrets["".join(sorted(s + o))] for o in "abc" if o != s} for s in "abc"}
    made = {site: step_keys(bytes(32), pairs[site], context) for site in "abc"}
    sent = {name: np.array([41], dtype=np.uint32)}
    hide_step(sent, StepKeys(b"", made["c"].pairs), "c", context)
    open_step(sent, {"c": StepKeys(made["c"].own, made["c"].pairs)}, context)
    own_mask = {name: np.zeros(1, dtype=np.uint32)}
    open_step(own_mask, {"c": StepKeys(made["c"].own, {})}, context)
    assert (sent[name] - own_mask[name])[0] == 41


def test_a_site_that_was_left_out_stays_out_until_the_next_training(
    federation: Federation,
) -> None:
    request = request_of(federation)
    sent = updates(federation, request)
    opened(federation, replace(request.opening, opened=tuple("abcd")), sent)
    for invited in (SITES, "abc", "abce"):
        with pytest.raises(RefusedError, match="rule opened"):
            updates(federation, request_of(federation, 1, invited))
    assert set(updates(federation, request_of(federation, 1, "abcd"))) == set("abcd")
    next_training = replace(request_of(federation, 0, variant="fold0"), number=2)
    assert set(updates(federation, next_training)) == set(SITES)


def test_sums_that_differ_by_one_or_two_sites_are_few(federation: Federation) -> None:
    """The cap is of the study, over all its trainings and runs."""
    for number, (variant, left) in enumerate((("fold0", "abcd"), ("fold1", "abc"))):
        request = replace(request_of(federation, 0, variant=variant), number=number)
        sent = updates(federation, request)
        opened(federation, replace(request.opening, opened=tuple(left)), sent)
    request = replace(request_of(federation, 0, variant="fold2"), number=2)
    sent = updates(federation, request)
    with pytest.raises(RefusedError, match="rule departures"):
        signed(federation, replace(request.opening, opened=tuple("bcde")), "b")
    opened(federation, replace(request.opening, opened=tuple(SITES)), sent)


@pytest.mark.parametrize("others", ["abcde", "abcdfg"])
def test_larger_circles_that_differ_by_one_or_two_sites_count_too(
    coordinator: Any, tmp_path: Path, others: str
) -> None:
    """Nobody left alone, yet two sums over the same first weights differ by one or two sites."""
    sites, three_left = "abcdefghi", "abcdef"
    federation = hospitals(coordinator, tmp_path, sites, {**SMALL, "max_departures": 0})
    for number, variant in enumerate(("fold0", "fold1")):  # the same circle tells nothing more
        request = replace(request_of(federation, 0, sites, variant), number=number)
        sent = updates(federation, request)
        opened(federation, replace(request.opening, opened=tuple(three_left)), sent)
    request = replace(request_of(federation, 0, sites, "fold2"), number=2)
    sent = updates(federation, request)
    with pytest.raises(RefusedError, match="rule departures"):
        signed(federation, replace(request.opening, opened=tuple(others)), "a")
    opened(federation, replace(request.opening, opened=tuple(sites)), sent)


def test_a_round_waits_for_all_where_no_more_may_go_on_without_some(
    federation: Federation,
) -> None:
    """A sum that a site refuses to sign, and others have signed, would end the run for ever."""
    waits_for(federation, "e", pulls=2**31)
    about = ("dl3d", np.zeros(1, dtype=np.float32), NOTHING)
    for variant in ("fold0", "fold1"):
        plan = request_of(federation, variant=variant).plan
        assert federation.train(about[0], variant, *about[1:], plan).present == tuple("abcd")
    waits_for(federation, "e", pulls=20)
    plan = request_of(federation, variant="fold2").plan
    federation.events.listener = (said := []).append
    assert federation.train(about[0], "fold2", *about[1:], plan).present == tuple(SITES)
    (why,) = [event for event in said if event["kind"] == "all_needed"]
    assert (why["network"], why["variant"], why["site"] in "abcd") == ("dl3d", "fold2", True)
    assert "waits for all hospitals in every round" in describe(why)


def test_no_sum_is_begun_without_a_hospital_that_was_started_again_where_all_are_needed(
    coordinator: Any, tmp_path: Path, works: dict[str, Path]
) -> None:
    """It is left out while another is away, as new keys take all; here the round stops instead."""
    federation = hospitals(coordinator, tmp_path, SITES, {**SMALL, "max_departures": 0})
    about = ("dl3d", "final", np.zeros(1, dtype=np.float32), NOTHING)
    plan = request_of(federation).plan
    site_db(works["a"]).forget_sealed_keys()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Federation, "_all_connected", lambda self: False)
        with pytest.raises(SiteError, match="only 4 of 5 sites that a round needs"):
            federation.train(*about, plan)
    federation.number = 0
    assert federation.train(*about, plan).present == tuple(SITES)


def waits_for(federation: Federation, away: str, pulls: int) -> None:
    """Let a site be away for so many looks for replies."""
    grid: Any = federation.grid
    pull = type(grid).pull_messages
    left = iter(range(pulls))

    def without(ids: Iterable[str]) -> Any:
        gone = away if next(left, None) is not None else ""
        waiting = ((i, grid._waiting.get(i)) for i in ids)
        own = [i for i, one in waiting if one and grid._names[one.metadata.dst_node_id] != gone]
        return pull(grid, own)

    grid.pull_messages = without


def test_a_folder_put_back_signs_no_second_sum_that_could_open(
    federation: Federation, works: dict[str, Path]
) -> None:
    """One restored site signs again; the sum needs the others, who remember."""
    request = request_of(federation)
    sent = updates(federation, request)
    work = works["a"]
    before = (work / "site.db").read_bytes()
    opened(federation, replace(request.opening, opened=tuple(SITES)), sent)
    (work / "site.db").write_bytes(before)
    other = replace(request.opening, opened=tuple("abcd"))
    for site in "bcd":
        with pytest.raises(RefusedError, match="rule opened"):
            signed(federation, other, [site])


def test_hospitals_started_again_open_the_sum_that_was_begun(
    federation: Federation, works: dict[str, Path]
) -> None:
    """No other sum of the step can be opened, so without its keys the run would end there."""
    request = request_of(federation)
    sent = updates(federation, request)
    opening = replace(request.opening, opened=tuple("abcd"))
    signatures = signed(federation, opening, "abc")
    for work in works.values():
        site_db(work).forget_sealed_keys()  # as the program does when it starts
    signatures |= signed(federation, opening, "d")
    revealed = keys(federation, opening, signatures, "abcd")
    assert 0 < abs(taken_off(federation, opening, sent, revealed)) <= 5.0


def test_one_site_alone_cannot_end_in_a_sum_without_answer(federation: Federation) -> None:
    """A site signs only for updates that it gave."""
    request = request_of(federation)
    with pytest.raises(RefusedError, match="rule opened"):
        signed(federation, replace(request.opening, opened=tuple(SITES)), "a")


def test_the_losses_open_with_those_of_all_sites_alone(federation: Federation) -> None:
    plan = request_of(federation).plan
    about = ("dl3d", "final", np.zeros(1, dtype=np.float32), NOTHING)
    whole = federation.train(*about, plan)
    assert np.isfinite(whole.loss)
    assert whole.present == tuple(SITES)
    federation.grid.ask = lambda site, asked: asked  # type: ignore[attr-defined]
    away = "e"
    pull = federation.grid.pull_messages

    def without(ids: Iterable[str]) -> Any:
        names = federation.grid._names  # type: ignore[attr-defined]
        waiting = federation.grid._waiting  # type: ignore[attr-defined]
        own = [i for i in ids if names[waiting[i].metadata.dst_node_id] != away]
        return pull(own)

    federation.grid.pull_messages = without  # type: ignore[method-assign]
    part = federation.train(*about, replace(plan, round=1))
    assert part.present == tuple("abcd")
    assert np.isnan(part.loss)
    with pytest.raises(RefusedError, match="rule opened"):
        federation.train(*about, replace(plan, round=2))
