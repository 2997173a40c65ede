"""The networks of a bundle load with MONAI alone and give the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common.bundle.bundle import Bundle, read_files
from common.bundle.monai_bundle import write_monai_bundles
from common.models import network_input, network_name
from common.networks.resnet import network_with
from common.study.model import Study

# in a process that knows nothing of this project
ALONE = """
import sys
import numpy as np, torch
import monai.bundle
folder, name, crops, out = sys.argv[1:]
network = monai.bundle.load(name, bundle_dir=folder, source="github", load_ts_module=True)
network = network[0] if isinstance(network, tuple) else network
with torch.no_grad():
    features, logits = network.eval()(torch.from_numpy(np.load(crops)))
assert not any(m.split(".")[0] in ("common", "client", "server") for m in sys.modules)
np.savez(out, features=features.numpy(), logits=logits.numpy())
"""


@pytest.fixture(scope="module")
def bundle(imaging_run: Path) -> Bundle:
    return Bundle.from_files(read_files(imaging_run / "bundle"))


@pytest.mark.parametrize("name", ["dl2d", "dl3d"])
def test_it_gives_the_same_features_and_logits_without_this_project(
    bundle: Bundle, tmp_path: Path, name: str
) -> None:
    if name not in bundle.networks:
        pytest.fail(f"the run has no {name}")
    study = Study.model_validate_json(bundle.settings)
    write_monai_bundles(bundle, study, tmp_path / "monai")
    kind = network_name(name)
    seen, settings = network_input(kind), study.network(kind)
    shape = (5, seen.channels, *([settings.input_size] * seen.dimensions))
    crops = np.random.default_rng(1).random(shape, dtype=np.float32)
    np.save(tmp_path / "crops.npy", crops)
    command = [sys.executable, "-c", ALONE, str(tmp_path / "monai"), name]
    command += [str(tmp_path / "crops.npy"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    import torch

    network = network_with(bundle.networks[name], kind, settings).eval()
    with torch.no_grad():
        features, logits = network(torch.from_numpy(crops))
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["features"], features.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["logits"], logits.numpy(), rtol=1e-5, atol=1e-6)


def test_its_metadata_has_what_monais_specification_asks_for(
    bundle: Bundle, tmp_path: Path
) -> None:
    study = Study.model_validate_json(bundle.settings)
    for folder in write_monai_bundles(bundle, study, tmp_path):
        found = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        wanted = {"version", "changelog", "monai_version", "pytorch_version", "numpy_version"}
        wanted |= {"task", "description", "authors", "copyright", "network_data_format"}
        assert wanted <= set(found)
        assert "Research use" in found["description"]
        assert (folder / "docs" / "README.md").read_text().count("Research use only") == 1
