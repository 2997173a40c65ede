"""site.toml: where a hospital keeps its data, its work and its keys, and how strict it is."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import InputError
from common.study import PrivacySettings
from common.study_errors import explain


class SiteSettings(BaseModel):
    """One hospital's settings. Relative paths are relative to the folder of site.toml.

    `exclude_bad_patients` is the site's explicit word that patients whose data cannot be used are
    left out; without it one bad patient stops the site, so that nobody is lost unnoticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    data: Path = Path()
    work: Path = Path("work")
    identity: Path = Path("keys/identity.pem")
    cache: Path = Path("cache")
    threads: int = Field(1, ge=1)
    workers: int = Field(0, ge=0, description="processes for preparation; 0 = one per core")
    memory_gib: float = Field(8.0, gt=0)
    exclude_bad_patients: bool = False
    privacy: PrivacySettings | None = None

    @property
    def preparation_workers(self) -> int:
        """Processes that prepare patients side by side."""
        return self.workers or len(os.sched_getaffinity(0))


def load_site(path: Path) -> SiteSettings:
    """Read site.toml; relative paths become absolute.

    Raises
    ------
    InputError : missing, not TOML, or a key or value that does not validate.
    """
    if not path.is_file():
        raise InputError("no such file", where=str(path), remedy="run fedlnm-site init")
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = SiteSettings.model_validate(written)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not valid TOML: {error}", where=str(path)) from None
    except ValidationError as error:
        raise explain(error, where=str(path), model=SiteSettings) from None
    base = path.parent.resolve()
    return settings.model_copy(
        update={
            "data": base / settings.data,
            "work": base / settings.work,
            "identity": base / settings.identity,
            "cache": base / settings.cache,
        }
    )
