"""Only some bundles are used: the coordinator's, whole, and fit for this installation."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.predict import verify
from client.predict.verify import blamed_unless_checked, coordinator_key, open_bundle
from common.bundle.bundle import Bundle, save_files, sign_files
from common.errors import InputError, SignatureError, UsageError
from common.masking import identity
from common.messages.joining import Invitation
from common.study.model import Study, load_study
from common.transforms import Linear, Select, Stack
from common.transforms.views import View, table
from tests.client.predict.conftest import KEY, signed

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def study(tabular_master: Path) -> Study:
    return load_study(tabular_master / "study.toml")


def linear() -> View:
    step = Linear(columns=("age",), weights=np.ones(1), intercept=0.0, name="clinical")
    return table("clinical").then(Select(columns=("age",)), step)


def bundle_of(study: Study, **changes: Any) -> Bundle:
    made = Bundle(
        study=study.digest(),
        models={"clinical": linear()},
        networks={},
        cutoffs={"clinical": 0.5},
        software={"fedlnm": "0.1.0"},
        settings=study.canonical(),
        training={},
    )
    return dataclasses.replace(made, **changes)


def test_a_signed_bundle_brings_its_study(study: Study, tmp_path: Path) -> None:
    opened = open_bundle(signed(bundle_of(study).to_files(), tmp_path), KEY)
    assert opened.study == study
    assert opened.signed_by == identity.fingerprint(identity.public_key(KEY))
    assert len(opened.digest) == 64


@pytest.mark.parametrize("change", ["edit", "add", "take away"])
def test_a_changed_bundle_is_refused(study: Study, tmp_path: Path, change: str) -> None:
    folder = signed(bundle_of(study).to_files(), tmp_path)
    if change == "edit":
        text = (folder / "bundle.json").read_text(encoding="utf-8").replace("0.5", "0.4")
        (folder / "bundle.json").write_text(text, encoding="utf-8")
    elif change == "add":
        (folder / "other.txt").write_text("x", encoding="utf-8")
    else:
        (folder / "study.json").unlink()
    with pytest.raises(SignatureError, match="not as it was signed: a file was changed, added or"):
        open_bundle(folder, KEY)


def test_another_signer_and_no_signature_are_refused(study: Study, tmp_path: Path) -> None:
    files = bundle_of(study).to_files()
    save_files(sign_files(files, identity.generate()), tmp_path / "other")
    with pytest.raises(SignatureError, match="signed with another key"):
        open_bundle(tmp_path / "other", KEY)
    save_files(files, tmp_path / "none")
    with pytest.raises(SignatureError, match="not signed"):
        open_bundle(tmp_path / "none", KEY)
    assert "NOT VERIFIED" in open_bundle(tmp_path / "none", None).warnings[0]


def test_no_bundle_or_a_damaged_one_is_told_plainly(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bundle\.json is missing"):
        open_bundle(tmp_path, KEY)
    save_files(bundle_of(study).to_files(), tmp_path)
    (tmp_path / "arrays.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(InputError, match="not a bundle of this system"):
        open_bundle(tmp_path, None)


def test_another_format_is_told_with_both_numbers(study: Study, tmp_path: Path) -> None:
    save_files(bundle_of(study).to_files(), tmp_path)
    head = json.loads((tmp_path / "bundle.json").read_text(encoding="utf-8"))
    (tmp_path / "bundle.json").write_text(json.dumps({**head, "format": 1}), encoding="utf-8")
    with pytest.raises(InputError, match="format 1, this release reads format 3"):
        open_bundle(tmp_path, None)


def test_a_study_that_did_not_make_the_models_is_refused(study: Study, tmp_path: Path) -> None:
    other = study.model_copy(update={"endpoint": "another"})
    files = bundle_of(study, settings=other.canonical()).to_files()
    with pytest.raises(InputError, match="not the one that made the models"):
        open_bundle(signed(files, tmp_path), KEY)


def stacker() -> Stack:
    from sklearn.linear_model import LogisticRegression
    from skops.io import dumps

    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    blob = np.frombuffer(dumps(fitted), dtype=np.uint8)
    return Stack(columns=("clinical",), blob=blob, name="fusion_decision")


def test_another_scikit_learn_is_refused_only_where_the_bundle_holds_its_estimators(
    study: Study, tmp_path: Path
) -> None:
    versions = {"scikit-learn": "0.1", "torch": "0.2"}
    plain = bundle_of(study, software=versions)
    (warning,) = open_bundle(signed(plain.to_files(), tmp_path / "plain"), KEY).warnings
    assert "Made with torch 0.2 (here " in warning
    stacked = bundle_of(
        study,
        software=versions,
        models={"clinical": linear(), "fusion_decision": linear().then(stacker())},
        cutoffs={"clinical": 0.5, "fusion_decision": 0.5},
    )
    folder = signed(stacked.to_files(), tmp_path / "stacked")
    with pytest.raises(InputError, match=r"scikit-learn 0\.1, here is .*==0\.1"):
        open_bundle(folder, KEY)


def test_a_stacker_with_a_type_that_is_not_trusted_is_refused(study: Study, tmp_path: Path) -> None:
    from skops.io import dumps

    blob = np.frombuffer(dumps(Path), dtype=np.uint8)
    step = Stack(columns=("clinical",), blob=blob, name="fusion_decision")
    models, cutoffs = {"fusion_decision": linear().then(step)}, {"fusion_decision": 0.5}
    files = bundle_of(study, models=models, cutoffs=cutoffs).to_files()
    with pytest.raises(InputError, match="not trusted"):
        open_bundle(signed(files, tmp_path), KEY)


def test_with_fedbn_it_is_said_whose_normalisation_is_used(study: Study, tmp_path: Path) -> None:
    changed = {"base_models": ("clinical", "dl3d"), "dl3d": {"strategy": "fedbn"}}
    fedbn = Study.model_validate({**study.model_dump(), **changed})
    (warning,) = open_bundle(signed(bundle_of(fedbn).to_files(), tmp_path), KEY).warnings
    assert "own normalisation of the 3D network (FedBN)" in warning


def test_the_key_comes_from_one_place(tmp_path: Path) -> None:
    assert coordinator_key(KEY, None, unverified=False) == KEY
    assert coordinator_key(None, None, unverified=True) is None
    for given, unverified in ((None, False), (KEY, True)):
        with pytest.raises(UsageError):
            coordinator_key(given, None, unverified=unverified)
    (tmp_path / "site.toml").write_text('name = "a"\n', encoding="utf-8")
    with pytest.raises(InputError, match="no coordinator_key"):
        coordinator_key(None, tmp_path, unverified=False)
    deployment = (
        f'[deployment]\nsuperlink = "localhost:1"\ninsecure = true\ncoordinator_key = "{KEY}"'
    )
    (tmp_path / "site.toml").write_text(f'name = "a"\n{deployment}\n', encoding="utf-8")
    assert coordinator_key(None, tmp_path / "site.toml", unverified=False) == KEY


def test_an_invitation_brings_the_key_unless_it_was_changed(tmp_path: Path) -> None:
    from server.deployment.authority import make_authority

    private = identity.generate()
    letter = Invitation(
        address="hub.example:443",
        certificate=make_authority("hub").certificate.decode(),
        coordinator_key=identity.public_text(private.public_key()),
    ).signed_by(private)
    path = tmp_path / "invitation.json"
    path.write_bytes(letter.to_bytes())
    assert coordinator_key(str(path), None, unverified=False) == letter.coordinator_key
    path.write_bytes(letter.to_bytes().replace(b"hub.example", b"bad.example"))
    with pytest.raises(SignatureError):
        coordinator_key(str(path), None, unverified=False)


def test_versions_of_what_is_not_there_are_said() -> None:
    assert verify.installed(("no-such-package",)) == {"no-such-package": "not installed"}


def test_whatever_is_wrong_inside_an_unchecked_bundle_is_told_as_the_bundles() -> None:
    with pytest.raises(InputError, match="AttributeError"), blamed_unless_checked(None):
        _ = {}.source  # type: ignore[attr-defined]
    with pytest.raises(AttributeError), blamed_unless_checked(KEY):
        _ = {}.source  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="disk"), blamed_unless_checked(None):
        raise OSError("disk full")
    with pytest.raises(UsageError, match="as before"), blamed_unless_checked(None):
        raise UsageError("as before", where="test")
