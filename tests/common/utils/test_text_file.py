"""Files of other editors: read as meant, or refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from client.site import load_site
from common.errors import InputError
from common.study.model import load_study, parse_study
from server.deployment.folder import CoordinatorFolder
from tests import builders

STUDY = builders.study_text(endpoint="Lymphknotenmetastase, verdächtig")


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    study, site = tmp_path / "study.toml", tmp_path / "site.toml"
    study.write_text(STUDY, encoding="utf-8-sig")
    site.write_text('name = "a"\n', encoding="utf-8-sig")
    assert load_study(study) == parse_study(STUDY)
    assert load_site(site).name == "a"


def test_another_encoding_is_named_with_its_line(tmp_path: Path) -> None:
    study, site = tmp_path / "study.toml", tmp_path / "site.toml"
    study.write_text(STUDY, encoding="latin-1")
    site.write_text('name = "a"\n# Köln\n', encoding="latin-1")
    with pytest.raises(InputError, match=r"study\.toml line 2: not UTF-8 text -> save it as UTF-8"):
        load_study(study)
    with pytest.raises(InputError, match=r"site\.toml line 2: not UTF-8 text"):
        load_site(site)
    (tmp_path / "coordinator.toml").write_text("# Köln\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"coordinator\.toml line 1: not UTF-8 text"):
        CoordinatorFolder(tmp_path).settings()
