"""Signed, and spoilt all the same: a bundle is refused in words or gives risks."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from sklearn.ensemble import RandomForestClassifier
from skops.io import dumps

from client.predict.inputs import case_of
from client.predict.predicting import Machine, predict
from client.predict.verify import open_bundle
from common.bundle.bundle import Bundle, Files, TrainingColumns
from common.errors import InputError, StudyError
from common.study.model import Study
from common.transforms import Impute, Linear, Select, Sigmoid, Stack, Standardise
from common.transforms.views import Joined, View, table
from server import cli
from tests import builders
from tests.client.predict.conftest import KEY, signed
from tests.fixtures.archive import Scan, body, ellipses, person

AGE = ("age",)
SPOILT: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 1e308, 10**30, math.nan, math.inf, "x", "../../x", "a" * 5000),
    *([], {}, [[]], {"__class__": "View"}, {"__array__": 0}, {"__class__": "Bundle"}),
)


def study() -> Study:
    return builders.study(clinical=[builders.number("age", unit="years")])


def bundle(own: Study) -> Bundle:
    """A model, and a stacker on it."""
    steps = (
        Select(columns=AGE),
        Impute(columns=AGE, fill=np.array([60.0])),
        Standardise(columns=AGE, mean=np.array([60.0]), scale=np.array([10.0])),
        Linear(columns=AGE, weights=np.ones(1), intercept=0.0, name="clinical"),
        Sigmoid(a=-1.0, b=0.1),
    )
    clinical = table("clinical").then(*steps)
    fitted = RandomForestClassifier(3, random_state=1, bootstrap=False).fit([[0.1], [0.9]], [0, 1])
    blob = np.frombuffer(dumps(fitted), dtype=np.uint8)
    stack = Stack(columns=("clinical",), blob=blob, name="fusion_decision")
    return Bundle(
        study=own.digest(),
        models={
            "clinical": clinical,
            "fusion_decision": View(source=Joined(parts=(clinical,))).then(stack),
        },
        networks={},
        cutoffs={"clinical": 0.5, "fusion_decision": 0.5},
        software={"fedlnm": "0.1.0"},
        settings=own.canonical(),
        training={"clinical": TrainingColumns(AGE, np.array([60.0]), np.array([10.0]))},
        edges=np.array([[-np.inf, 0.5, np.inf]] * 2),
    )


def risks(files: Files, folder: Path) -> list[float]:
    """Return what the models of a signed bundle say of a patient, of those that can be used."""
    opened = open_bundle(signed(files, folder), KEY)
    case = case_of(opened.study, "p", None, None, ["age=63"])
    outcome, _ = predict(opened, [case], Machine("cpu"))
    text = json.dumps(outcome.as_dict(), allow_nan=False)
    models = json.loads(text)["patients"][0]["models"]
    found = [one["probability"] for one in models if one["probability"] is not None]
    assert all(0.0 <= one <= 1.0 for one in found)
    return found


def of_bytes(data: bytes) -> Any:
    return np.frombuffer(data, dtype=np.uint8)


def places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where values stand in a tree."""
    if at:
        yield at
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from places(part, (*at, key))


def spoilt_heads(files: Files) -> Iterator[Files]:
    """Yield the bundle with one value of bundle.json changed, or left out."""
    text = files["bundle.json"].tobytes()
    drawn = random.Random(7)  # noqa: S311
    for at in places(json.loads(text)):
        for value in (*drawn.sample(SPOILT, 3), None):
            tree = json.loads(text)
            within = tree
            for key in at[:-1]:
                within = within[key]
            if value is None:
                del within[at[-1]]
            else:
                within[at[-1]] = value
            yield {**files, "bundle.json": of_bytes(json.dumps(tree).encode())}


def spoilt_arrays(files: Files) -> Iterator[Files]:
    """Yield the bundle with one array changed, or left out."""
    arrays = load(files["arrays.safetensors"].tobytes())
    for name, one in arrays.items():
        for other in (
            *(one * math.nan, one * 0 + math.inf, one * 1e300, one * 0, one[None], one[:0]),
            *(one.astype(np.int32), one.astype("S1"), np.repeat(one, 3, axis=0), None),
        ):
            if other is not None and other.dtype.kind == "S":
                other = other.view(np.uint8)
            changed = {k: v for k, v in {**arrays, name: other}.items() if v is not None}
            whole = {k: np.ascontiguousarray(v) for k, v in changed.items()}
            yield {**files, "arrays.safetensors": of_bytes(save(whole))}


def cut_files(files: Files) -> Iterator[Files]:
    """Yield the bundle with one file cut, emptied, of noise, or left out."""
    for name, data in files.items():
        for other in (data[: data.size // 2], data[:0], data[::-1], None):
            changed = {**files, name: other}
            yield {k: v for k, v in changed.items() if v is not None}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spoil", [spoilt_heads, spoilt_arrays, cut_files])
def test_a_spoilt_bundle_is_refused_in_words_or_gives_risks(spoil: Any, tmp_path: Path) -> None:
    own = bundle(study())
    whole = own.to_files()
    assert len(risks(whole, tmp_path / "whole")) == 2
    refused = 0
    spoilt = list(spoil(whole))
    for number, files in enumerate(spoilt):
        try:
            risks(files, tmp_path / str(number))
        except StudyError as error:
            refused += 1
            assert len(str(error)) < 2000
    assert refused > len(spoilt) / 2


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (np.full(7, np.nan, dtype=np.float32), "fitted numbers are not all finite"),
        (np.zeros(7, dtype=np.float32), "cannot use what the bundle holds"),
        (np.zeros((7, 0), dtype=np.float32), "cannot use what the bundle holds"),
    ],
)
def test_weights_that_are_none_of_the_network_are_refused_in_words(
    weights: Any, words: str, tmp_path: Path
) -> None:
    own = builders.study(
        clinical=[builders.number("age", unit="years")], base_models=["clinical", "dl2d"]
    )
    files = Bundle(**{**vars(bundle(own)), "networks": {"dl2d": weights}}).to_files()
    with pytest.raises(InputError, match=words):
        risks(files, tmp_path / "bundle")
    with pytest.raises(InputError, match=words):
        cli.monai(tmp_path)


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "clinical", ""])  # noqa: S108
def test_a_network_of_another_name_writes_nothing_anywhere(name: str, tmp_path: Path) -> None:
    weights = {name: np.zeros(7, dtype=np.float32)}
    files = Bundle(**{**vars(bundle(study())), "networks": weights}).to_files()
    run = tmp_path / "a" / "run"
    signed(files, run / "bundle")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="cannot use what the bundle holds"):
        cli.monai(run)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(InputError):
        risks(files, tmp_path / "other")


def test_sizes_that_fill_the_memory_are_no_study(tmp_path: Path) -> None:
    own = study()
    for key, value in {"crop2d_size": 10**6, "crop3d_size": 10**5, "spacing_mm": 1e-6}.items():
        tree = json.loads(own.canonical())
        tree["imaging"][key] = value
        text = json.dumps(tree)
        digest = hashlib.sha256(text.encode()).hexdigest()
        made = Bundle(**{**vars(bundle(own)), "study": digest, "settings": text})
        with pytest.raises(InputError, match=key):
            open_bundle(signed(made.to_files(), tmp_path / key), KEY)


FEATURES = ("original_firstorder_Mean", "original_shape_MeshVolume")


def with_images(own: Study) -> Bundle:
    """A model of two features of an image."""
    steps = (
        Select(columns=FEATURES),
        Impute(columns=FEATURES, fill=np.array([45.0, 900.0])),
        Standardise(columns=FEATURES, mean=np.array([45.0, 900.0]), scale=np.array([9.0, 400.0])),
        Linear(columns=FEATURES, weights=np.ones(2), intercept=0.0, name="radiomics"),
        Sigmoid(a=-1.0, b=0.1),
    )
    return Bundle(
        study=own.digest(),
        models={"radiomics": table("radiomics").then(*steps)},
        networks={},
        cutoffs={"radiomics": 0.5},
        software={"fedlnm": "0.1.0"},
        settings=own.canonical(),
        training={},
        edges=np.array([[-np.inf, 0.5, np.inf]]),
    )


@pytest.mark.filterwarnings("ignore")
def test_a_spoilt_bundle_is_refused_for_a_patient_with_images_too(tmp_path: Path) -> None:
    scan = Scan(person(1), body(1, (8, 24, 28)))
    scan.write(tmp_path / "ct")
    scan.rtstruct(tmp_path / "rt.dcm", {"GTV": ellipses((13, 11), 4, range(2, 6))})
    features = {"settings": "radiomics-original", "expected_features": 105}
    own = builders.study(base_models=["radiomics"], clinical=[], radiomics=features)
    whole = with_images(own).to_files()

    def outcome(files: Files, name: str) -> list[float | None]:
        opened = open_bundle(signed(files, tmp_path / name), KEY)
        case = case_of(opened.study, "p", tmp_path / "ct", tmp_path / "rt.dcm", [])
        found, _ = predict(opened, [case], Machine("cpu"))
        assert not found.problems, "the bundle is at fault, and not the patient"
        tree = json.loads(json.dumps(found.as_dict(), allow_nan=False))
        return [one["probability"] for one in tree["patients"][0]["models"]]

    (risk,) = outcome(whole, "whole")
    assert risk is not None and 0.0 < risk < 1.0
    drawn, refused = random.Random(3), 0  # noqa: S311
    spoilt = [*spoilt_heads(whole)], [*spoilt_arrays(whole)], [*cut_files(whole)]
    chosen = [one for files in spoilt for one in drawn.sample(files, min(6, len(files)))]
    for number, files in enumerate(chosen):
        try:
            assert all(one is None or 0.0 <= one <= 1.0 for one in outcome(files, str(number)))
        except StudyError as error:
            refused += 1
            assert len(str(error)) < 2000
    assert refused > len(chosen) / 3
