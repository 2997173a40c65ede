"""`engine` in site.toml: who computes, and that the cache keeps their features apart."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name everyone knows it by
from radiomics.featureextractor import RadiomicsFeatureExtractor

from client.imaging.cache import ContentCache
from client.imaging.preparation import PatientJob, prepare
from client.imaging.radiomics import extraction
from client.imaging.radiomics.engine import FastExtractor
from client.imaging.radiomics.extraction import extract_roi
from client.site import load_site
from common.errors import InputError
from common.study.model import RadiomicsSettings

SETTINGS = RadiomicsSettings(settings="radiomics-original", expected_features=105)


def volumes() -> tuple[sitk.Image, sitk.Image]:
    values = np.random.default_rng(0).normal(50, 60, (16, 17, 18)).astype(np.float32)
    z, y, x = np.indices(values.shape) - 8
    mask = (z**2 + y**2 + x**2 < 16).astype(np.uint8)
    return sitk.GetImageFromArray(values), sitk.GetImageFromArray(mask)


def test_each_engine_computes_with_its_own_extractor():
    fast, untouched = (extraction.tool_of("radiomics-original", e) for e in ("fast", "pyradiomics"))
    assert type(fast.extractor) is FastExtractor
    assert type(untouched.extractor) is RadiomicsFeatureExtractor


def test_the_engines_agree():
    ours = extract_roi(*volumes(), "radiomics-original", 105)
    theirs = extract_roi(*volumes(), "radiomics-original", 105, engine="pyradiomics")
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("spacing", [(0.9, 0.8, 2.7), (1.4, 1.3, 0.6)])
@pytest.mark.parametrize("place", ["inside", "at the edge", "in one slice"])
def test_the_engines_agree_on_a_resampled_image(spacing, place):
    image, mask = volumes()
    voxels = sitk.GetArrayFromImage(mask)
    if place == "at the edge":
        voxels = np.roll(voxels, 5, axis=(0, 1, 2))
    if place == "in one slice":
        voxels[:8] = voxels[9:] = 0
    mask = sitk.GetImageFromArray(voxels)
    for one in (image, mask):
        one.SetSpacing(spacing)
    ours = extract_roi(image, mask, "radiomics-original", 105)
    theirs = extract_roi(image, mask, "radiomics-original", 105, engine="pyradiomics")
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=0)


def test_another_engine_computes_anew(tmp_path):
    image, mask = volumes()
    sitk.WriteImage(image, tmp_path / "image.nii.gz")
    sitk.WriteImage(mask, tmp_path / "mask.nii.gz")
    job = PatientJob("p1", tmp_path / "image.nii.gz", {"r1": tmp_path / "mask.nii.gz"})
    cache = ContentCache(tmp_path / "cache")
    keys = set()
    for engine in ("fast", "pyradiomics", "fast"):
        made = prepare(
            [job],
            imaging=None,
            radiomics=SETTINGS,
            cache=cache,
            workers=1,
            memory_gib=8,
            engine=engine,
        )
        assert made.problems == ()
        keys.add(made.feature_keys["r1"]["p1"])
    assert len(keys) == 2


@pytest.mark.parametrize("engine", ["fast", "pyradiomics"])
def test_site_toml_names_the_engine(tmp_path, engine):
    path = tmp_path / "site.toml"
    path.write_text('name = "a"\n')
    assert load_site(path).engine == "fast"
    path.write_text(f'name = "a"\nengine = "{engine}"\n')
    assert load_site(path).engine == engine


def test_an_unknown_engine_is_refused(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('name = "a"\nengine = "slow"\n')
    with pytest.raises(InputError, match="engine"):
        load_site(path)
