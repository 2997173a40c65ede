from __future__ import annotations

import os

import numpy as np
import pytest

from client.imaging import cache as cache_module
from client.imaging.cache import ContentCache
from client.imaging.errors import PatientError

ARRAYS = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.array([1.5])}


@pytest.fixture
def cache(tmp_path) -> ContentCache:
    return ContentCache(tmp_path / "cache")


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "Doe_Jane.nii", tmp_path / "roi.nii"]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 1000)
    return paths


def test_what_is_put_comes_back(cache, files):
    key = cache.key_of(files, {"size": 96})
    assert cache.get(key) is None
    cache.put(key, ARRAYS)
    found = cache.get(key)
    assert found is not None and list(found) == ["a", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_key_follows_content_settings_and_code_but_not_names(cache, files, tmp_path, monkeypatch):
    key = cache.key_of(files, {"size": 96, "order": "x"})
    assert key == cache.key_of(files, {"order": "x", "size": 96})
    moved = tmp_path / "elsewhere.nii"
    moved.write_bytes(files[0].read_bytes())
    assert key == cache.key_of([moved, files[1]], {"size": 96, "order": "x"})
    others = [
        cache.key_of(files, {"size": 95, "order": "x"}),
        cache.key_of(files[::-1], {"size": 96, "order": "x"}),
        cache.key_of(files[:1], {"size": 96, "order": "x"}),
    ]
    files[0].write_bytes(b"changed")
    others.append(cache.key_of(files, {"size": 96, "order": "x"}))
    monkeypatch.setattr(cache_module, "CODE_VERSION", cache_module.CODE_VERSION + 1)
    others.append(cache.key_of(files, {"size": 96, "order": "x"}))
    assert len({key, *others}) == 6


def test_a_folder_counts_by_the_files_in_it(cache, tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"one")
    (folder / "2.dcm").write_bytes(b"two")
    key = cache.key_of([folder], {})
    (folder / "2.dcm").write_bytes(b"other")
    assert cache.key_of([folder], {}) != key


def test_no_file_name_enters_the_cache(cache, files):
    cache.put(cache.key_of(files, {}), ARRAYS)
    names = [p.name for p in cache.folder.rglob("*")]
    assert not any("Doe" in name or "roi" in name for name in names)
    content = b"".join(p.read_bytes() for p in cache.folder.rglob("*.npz"))
    assert b"Doe" not in content


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_entry_is_a_miss_and_can_be_put_again(cache, files, damage):
    key = cache.key_of(files, {})
    cache.put(key, ARRAYS)
    path = next(cache.folder.rglob("*.npz"))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[content.index(np.float32(7).tobytes())] ^= 0xFF
    changed = {"cut": content[:-30], "flip": content, "empty": b"", "text": b"hello"}[damage]
    path.write_bytes(bytes(changed))
    assert cache.get(key) is None
    cache.put(key, ARRAYS)
    assert cache.get(key) is not None


def test_a_pickled_entry_is_a_miss(cache, files):
    key = cache.key_of(files, {})
    cache.put(key, ARRAYS)
    path = next(cache.folder.rglob("*.npz"))
    np.savez(path, a=np.array([{"x": 1}], dtype=object))
    assert cache.get(key) is None
    assert cache.map(key, "a") is None
    assert not cache.holds(key)


def test_mapped_arrays_are_those_that_were_put(cache, files):
    key = cache.key_of(files, {})
    turned = {"c": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "d": np.arange(5, dtype="<i2")}
    cache.put(key, ARRAYS | turned)
    for name, array in (ARRAYS | turned).items():
        mapped = cache.map(key, name)
        assert mapped is not None and mapped.dtype == array.dtype
        np.testing.assert_array_equal(mapped, array)
        assert not mapped.flags.writeable and not mapped.flags.owndata
    assert cache.map(key, "z") is None
    assert cache.map("0" * 64, "a") is None


def test_a_compressed_entry_cannot_be_mapped(cache, files):
    key = cache.key_of(files, {})
    cache.put(key, ARRAYS)
    np.savez_compressed(next(cache.folder.rglob("*.npz")), **ARRAYS)
    assert cache.map(key, "a") is None


def test_what_is_mapped_outlives_its_entry(cache, files):
    key = cache.key_of(files, {})
    cache.put(key, ARRAYS)
    mapped = cache.map(key, "a")
    cache.put(key, {"a": ARRAYS["a"] * 0})
    np.testing.assert_array_equal(mapped, ARRAYS["a"])


def test_an_entry_is_read_in_full_once_until_it_changes(cache, files, monkeypatch):
    key = cache.key_of(files, {})
    assert not cache.holds(key)
    cache.put(key, ARRAYS)
    assert cache.holds(key)
    reads = []
    monkeypatch.setattr(ContentCache, "get", lambda _, key: reads.append(key))
    assert cache.holds(key)
    cache.known.save()
    assert ContentCache(cache.folder).holds(key)
    assert reads == []
    path = next(cache.folder.rglob("*.npz"))
    path.write_bytes(path.read_bytes()[:-30])
    assert not cache.holds(key)


def test_files_are_read_once_for_all_processes(cache, files, monkeypatch):
    folder = files[0].parent
    key, whole = cache.key_of(files, {}), cache.key_of([folder], {})
    cache.known.save()
    monkeypatch.setattr(cache_module, "file_digest", lambda _: 1 / 0)
    again = ContentCache(cache.folder)
    assert again.key_of(files, {}) == key
    assert again.key_of([folder], {}) == whole


def test_an_interrupted_put_leaves_nothing_behind(cache, files, monkeypatch):
    key = cache.key_of(files, {})
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        cache.put(key, ARRAYS)
    assert cache.get(key) is None
    assert [p for p in cache.folder.rglob("*") if p.is_file()] == []


def test_entries_are_readable_by_their_owner_only(cache, files):
    cache.put(cache.key_of(files, {}), ARRAYS)
    path = next(cache.folder.rglob("*.npz"))
    assert os.name != "posix" or path.stat().st_mode & 0o077 == 0


def test_a_missing_file_is_the_patients_problem(cache, tmp_path):
    with pytest.raises(PatientError, match=r"^gone\.nii: no such file"):
        cache.key_of([tmp_path / "gone.nii"], {})
