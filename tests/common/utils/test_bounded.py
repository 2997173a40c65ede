"""Files of other parties: what they unpack to, name and nest is bounded before it is used."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.messages.joining import Invitation
from common.study.model import parse_study
from common.utils import bounded
from common.utils.bounded import inflates_within, parse_json, parse_toml, read_bytes, read_zip
from common.utils.text_file import read_written
from tests.bombs import GIB, MIB, deflate_bomb, peak_of


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def read(file: io.BytesIO, **changes: Any) -> Any:
    return read_zip(file, **{"most_members": 10, "most_bytes": MIB, "most_ratio": 100.0} | changes)


def test_a_zip_file_within_the_limits_is_read() -> None:
    members = {"a.json": b"{}", "folder/b": b"x" * 100}
    assert read(zipped(members)) == members
    assert read(zipped(members, zipfile.ZIP_DEFLATED)) == members
    assert read(zipped(members), most_ratio=1.0) == members


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "..\\a", "C:\\a", "C:/a", "\\a"])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        read(zipped({name: b""}))


def test_a_link_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        entry = zipfile.ZipInfo("a")
        entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ValueError, match="a link"):
        read(file)


def test_a_name_twice_and_too_many_members_are_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(ValueError, match="twice"):
        read(file)
    with pytest.raises(ValueError, match="more in it"):
        read(zipped({str(n): b"" for n in range(11)}))


def test_a_bomb_is_refused_by_its_list_of_members() -> None:
    bomb = zipped({"a": bytes(50 * MIB)}, zipfile.ZIP_DEFLATED)
    assert peak_of(lambda: read(bomb)) < MIB
    with pytest.raises(ValueError, match="more in it"):
        read(bomb)
    with pytest.raises(ValueError, match="more in it"):  # by its ratio alone
        read(bomb, most_bytes=GIB)
    grown = {"most_bytes": GIB, "most_ratio": 1e9}
    assert peak_of(lambda: read(bomb, **grown)) >= 50 * MIB, "the limits are what stops it"


def test_a_member_that_unpacks_to_more_than_it_says_is_refused() -> None:
    data = zipped({"a": bytes(50 * MIB)}, zipfile.ZIP_DEFLATED).getvalue()
    size = (50 * MIB).to_bytes(4, "little")
    assert size in data
    lying = io.BytesIO(data.replace(size, (10).to_bytes(4, "little")))
    assert peak_of(lambda: read(lying)) < 4 * MIB
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        read(lying)


def test_encryption_and_other_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="another way"):
        read(zipped({"a": b"1"}, zipfile.ZIP_LZMA))
    with pytest.raises(ValueError, match="another way"):
        read(zipped({"a": b"1"}, zipfile.ZIP_DEFLATED), most_ratio=1.0)


def test_ten_gigabytes_of_deflated_zeros_are_counted_in_little_memory() -> None:
    bomb = deflate_bomb()
    assert 9 * MIB < len(bomb) < 12 * MIB
    assert not inflates_within(bomb, 64 * MIB)
    assert peak_of(lambda: inflates_within(bomb, 64 * MIB)) < MIB


@given(st.binary(max_size=5000), st.integers(0, 6000))
def test_deflated_data_fit_exactly_where_their_content_does(data: bytes, most: int) -> None:
    import zlib

    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(data) + packer.flush()
    assert inflates_within(packed, most) == (len(data) <= most)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("levels", [bounded.DEEPEST + 2, 100_000])
def test_deep_json_is_refused(opening: str, levels: int) -> None:
    closing = "]" if opening == "[" else "}"
    text = opening * levels + "1" + closing * levels
    with pytest.raises(ValueError, match="levels"):
        parse_json(text)


def test_json_as_deep_as_allowed_is_read_and_longer_texts_are_not() -> None:
    text = "[" * bounded.DEEPEST + "]" * bounded.DEEPEST
    assert parse_json(text) == json.loads(text)
    with pytest.raises(ValueError, match="longer than 10 bytes"):
        parse_json(text, 10)


def test_deep_or_large_toml_is_refused() -> None:
    for text in ("a = " + "[" * 5000 + "]" * 5000, "a." * 5000 + "b = 1"):
        with pytest.raises(InputError, match=r"levels|not valid TOML"):
            parse_toml(text, "study.toml")
        with pytest.raises(InputError):
            parse_study(text)
    with pytest.raises(InputError, match="larger than 1 MiB"):
        parse_toml("#" * (2 * MIB), "study.toml")


def test_of_a_file_that_is_too_large_no_more_is_read_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "invitation.json"
    with path.open("wb") as file:
        file.truncate(10 * GIB)  # takes no room on the disk
    assert peak_of(lambda: read_bytes(path, MIB)) < 4 * MIB
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_bytes(path, MIB)
    with pytest.raises(InputError, match="larger than 1 MiB"):
        Invitation.read(path)
    with pytest.raises(InputError, match="larger than 256 MiB"):
        read_written(path)
