"""Thresholds in force at a site: the study's, or stricter ones of the site itself."""

from __future__ import annotations

from typing import Any

from common.study.model import MASKING, MODES, PrivacySettings

_CHOICES: dict[str, tuple[Any, ...]] = {"mode": MODES, "masking": MASKING}


def stricter(study: PrivacySettings, site: PrivacySettings | None) -> PrivacySettings:
    """Return the stricter of each of the study's thresholds and those of the site's own file.

    The larger of minima, the smaller of maxima (`max_...`). Thresholds that the site does not
    mention are the study's, except for `faithful`, which takes the site's explicit word.
    """
    said = {} if site is None else {name: getattr(site, name) for name in site.model_fields_set}
    said.setdefault("mode", MODES[0])
    return study.model_copy(
        update={name: _stricter(name, getattr(study, name), own) for name, own in said.items()}
    )


def _stricter(name: str, study: Any, site: Any) -> Any:
    if name in _CHOICES:
        return min(study, site, key=_CHOICES[name].index)
    return min(study, site) if name.startswith("max_") else max(study, site)
