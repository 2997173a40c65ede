"""A site's masks: keys, cancelling sums, what may not be sent twice, and rosters on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.site import SiteSettings
from client.store.masks import Rosters, RunMasks
from client.store.run_keys import VARIABLE, RestartedError, new_start
from client.store.site_db import FILE, Draft, site_db
from common.errors import RefusedError, SignatureError, StudyError
from common.masking import identity
from common.masking.agreement import roster_digest
from common.masking.fixed_point import to_text
from common.masking.leaving import LeftSite
from common.study.model import Study
from sim.sites import place_identities, simulated_identity, with_identities
from tests import builders

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def study() -> Study:
    return with_identities(
        builders.study(
            visitors="d",
            tests={"all": ("internal_test", "abcd"), "one": ("external_test", "d")},
        )
    )


def masks_of(folder: Path, study: Study, name: str, run: str = "r") -> RunMasks:
    home = folder / name
    place_identities([(name, home / "site.toml")])
    settings = SiteSettings(name=name, work=home, identity=home / "keys" / "identity.pem")
    return RunMasks(settings, study, run, Draft(home))


def keys_of(sites: dict[str, RunMasks]) -> Any:
    return tuple(site.announce("s") for site in sites.values())


def released(masks: RunMasks) -> None:
    """Remember what was hidden, as the release does."""
    masks._draft.remember()


def hide(masks: RunMasks, vector: Any, keys: Any, **changes: str) -> Any:
    asked = {"subset": "train", "exchange": "s/1", "digest": "d", "item": "ring64", **changes}
    return masks.hide(vector.copy(), keys=keys, **asked)


@pytest.mark.parametrize("dtype", [np.uint64, np.uint32])
@pytest.mark.parametrize("subset", ["train", "all"])
def test_masked_vectors_add_up_to_the_plain_sum(
    tmp_path: Path, study: Study, dtype: Any, subset: str
) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = keys_of(sites)
    plain = {name: np.arange(9, dtype=dtype) * dtype(i + 1) for i, name in enumerate(NAMES)}
    members = study.members(subset)
    masked = {name: hide(sites[name], plain[name], keys, subset=subset) for name in members}
    expected = sum((plain[name] for name in members), start=np.zeros(9, dtype=dtype))
    total = sum((masked[name] for name in members), start=np.zeros(9, dtype=dtype))
    assert np.array_equal(total, expected)
    assert not any(np.isin(masked[name], plain[name]).any() for name in members)


def test_a_set_at_one_site_has_no_mask(tmp_path: Path, study: Study) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    vector = np.arange(4, dtype=np.uint64)
    assert np.array_equal(hide(sites["d"], vector, keys_of(sites), subset="one"), vector)


def test_a_new_process_of_the_same_start_announces_the_same_key_and_masks_the_same(
    tmp_path: Path, study: Study
) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = keys_of(sites)
    again = masks_of(tmp_path, study, "a")
    announced = again.announce("s")
    assert announced is not None
    assert vars(announced) == vars(keys[0])
    vector = np.arange(5, dtype=np.uint64)
    assert np.array_equal(hide(sites["a"], vector, keys), hide(again, vector, keys))


def test_every_enrolment_has_a_key_of_its_own_and_that_of_before_is_gone(
    tmp_path: Path, study: Study
) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    first = keys_of(sites)
    second = tuple(site.announce("t") for site in sites.values())
    assert not {key.public_key for key in first} & {key.public_key for key in second}
    assert first[0].public_key not in text_of(tmp_path)
    sites["a"].recognise(second)
    with pytest.raises(RestartedError):
        sites["a"].recognise(first)


def test_another_run_of_the_study_takes_the_keys_of_the_one_before_away(
    tmp_path: Path, study: Study
) -> None:
    before = masks_of(tmp_path, study, "a").announce("s")
    assert before is not None
    assert before.public_key in text_of(tmp_path)
    masks_of(tmp_path, study, "a", run="next").announce("s")
    assert before.public_key not in text_of(tmp_path)


def text_of(folder: Path) -> str:
    return (folder / "a" / FILE).read_bytes().decode("latin1")


def test_a_start_of_the_program_never_uses_the_key_of_another(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, new_start()[VARIABLE])
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = keys_of(sites)
    vector = np.arange(5, dtype=np.uint64)
    hide(masks_of(tmp_path, study, "a"), vector, keys)
    monkeypatch.setenv(VARIABLE, new_start()[VARIABLE])
    again = masks_of(tmp_path, study, "a")
    with pytest.raises(RestartedError):
        again.recognise(keys)
    with pytest.raises(RestartedError):
        hide(again, vector, keys)
    announced = again.announce("s")
    assert announced is not None
    assert announced.public_key != keys[0].public_key


def test_the_private_key_on_disk_is_of_no_use_without_the_program(
    tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, new_start()[VARIABLE])
    masks = masks_of(tmp_path, study, "a")
    key = masks.announce("s")
    assert key is not None
    raw = masks._own((key,)).private.private_bytes_raw()
    assert raw not in (tmp_path / "a" / FILE).read_bytes()
    assert to_text(raw) not in text_of(tmp_path)


def test_another_vector_under_the_same_mask_is_refused_even_by_a_new_process(
    tmp_path: Path, study: Study
) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = keys_of(sites)
    hide(sites["a"], np.arange(5, dtype=np.uint64), keys)
    released(sites["a"])
    again = masks_of(tmp_path, study, "a")
    with pytest.raises(RefusedError, match="already sent under this mask"):
        hide(again, np.ones(5, dtype=np.uint64), keys)
    hide(again, np.ones(5, dtype=np.uint64), keys, exchange="s/2")
    hide(again, np.arange(5, dtype=np.uint64), keys)


@pytest.mark.parametrize("other", [np.zeros(8, dtype=np.uint32), np.zeros(3, dtype=np.uint64)])
def test_another_width_or_length_is_another_vector(
    tmp_path: Path, study: Study, other: Any
) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = keys_of(sites)
    hide(sites["a"], np.zeros(4, dtype=np.uint64), keys)
    with pytest.raises(RefusedError, match="already sent under this mask"):
        hide(sites["a"], other, keys)


def test_a_mask_counts_as_used_with_the_release_and_not_before(
    tmp_path: Path, study: Study
) -> None:
    """A reply that never left may be masked anew: nobody has seen it."""
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = keys_of(sites)
    hide(sites["a"], np.arange(5, dtype=np.uint64), keys)
    with pytest.raises(RefusedError):
        hide(sites["a"], np.ones(5, dtype=np.uint64), keys)
    again = masks_of(tmp_path, study, "a")
    hide(again, np.ones(5, dtype=np.uint64), keys)
    released(again)
    with pytest.raises(RefusedError, match="both must not leave"):
        released(sites["a"])


def test_a_coordinator_that_swaps_a_key_is_detected(tmp_path: Path, study: Study) -> None:
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    keys = list(keys_of(sites))
    own = masks_of(tmp_path / "coordinator", study, "b").announce("s")
    forged = type(own)(**{**vars(own), "signature": keys[2].signature})
    with pytest.raises(SignatureError, match="site b"):
        hide(sites["a"], np.arange(5, dtype=np.uint64), (keys[0], forged, *keys[2:]))


def test_keys_of_another_run_are_refused(tmp_path: Path, study: Study) -> None:
    others = keys_of({name: masks_of(tmp_path, study, name, run="before") for name in NAMES})
    sites = {name: masks_of(tmp_path, study, name) for name in NAMES}
    mixed = (sites["a"].announce("s"), *others[1:])
    with pytest.raises(SignatureError, match="signed for another run"):
        hide(sites["a"], np.arange(5, dtype=np.uint64), mixed)


def test_a_study_with_another_key_for_this_site_is_refused(tmp_path: Path, study: Study) -> None:
    masks = masks_of(tmp_path, study, "a")
    stranger = identity.public_text(simulated_identity("x").public_key())
    entries = tuple(
        entry.model_copy(update={"public_key": stranger}) if entry.name == "a" else entry
        for entry in study.sites
    )
    other = study.model_copy(update={"sites": entries})
    settings = masks._settings
    with pytest.raises(RefusedError, match="another identity key for this site"):
        RunMasks(settings, other, "another", Draft(settings.work)).announce("s")


def test_no_key_is_made_where_nothing_is_masked(tmp_path: Path, study: Study) -> None:
    off = study.privacy.model_copy(update={"masking": "off"})
    masks = masks_of(tmp_path, study.model_copy(update={"privacy": off}), "a")
    assert masks.announce("s") is None
    assert not (tmp_path / "a" / FILE).exists()


# -- rosters: whose key a hospital that leaves must have ------------------------------------------

KEYS = {name: identity.generate() for name in "abcd"}
ROSTER = {name: identity.public_text(key.public_key()) for name, key in KEYS.items()}
DIGEST = roster_digest(ROSTER)


@pytest.fixture
def rosters(tmp_path: Path) -> Rosters:
    assert Rosters(tmp_path).keep(ROSTER) == DIGEST
    return Rosters(tmp_path)


def test_a_roster_is_recalled_by_its_digest(rosters: Rosters) -> None:
    assert rosters.recall(DIGEST) == ROSTER
    assert rosters.recall("0" * 64) == {}


@pytest.mark.parametrize("text", ['{"a": "x"}', "not JSON", '{"a": 1}', ""])
def test_a_damaged_roster_is_found(tmp_path: Path, text: str) -> None:
    site_db(tmp_path).fix("roster", DIGEST, text)
    with pytest.raises(StudyError, match="the roster of an earlier release is damaged"):
        Rosters(tmp_path).recall(DIGEST)


def test_a_site_that_signed_with_the_key_on_record_is_proven_to_have_left(rosters: Rosters) -> None:
    assert rosters.proves(LeftSite.sign(KEYS["d"], "d", DIGEST))


def test_a_statement_with_another_key_or_for_another_roster_or_site_proves_nothing(
    rosters: Rosters,
) -> None:
    coordinators_own = {**ROSTER, "d": identity.public_text(KEYS["a"].public_key())}
    signed = LeftSite.sign(KEYS["d"], "d", DIGEST)
    for statement in (
        LeftSite.sign(KEYS["a"], "d", DIGEST),
        LeftSite.sign(KEYS["a"], "d", roster_digest(coordinators_own)),
        LeftSite.sign(KEYS["d"], "c", DIGEST),
        LeftSite.sign(KEYS["d"], "nobody", DIGEST),
        signed.model_copy(update={"signature": LeftSite.sign(KEYS["a"], "d", DIGEST).signature}),
    ):
        assert not rosters.proves(statement)
