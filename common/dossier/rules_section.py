"""The disclosure rules with their thresholds."""

from __future__ import annotations

from common.disclosure import DESCRIPTIONS
from common.dossier.markdown import document, table
from common.study.model import PrivacySettings

INTRODUCTION = """\
A hospital checks them on its own machine before it answers. Thresholds that are settings stand in
the study file; a hospital's own file can only make them stricter. The values here are those of the
release."""
STUDY_INTRODUCTION = """\
A hospital refuses below these thresholds (`max_...`: above them). Its own file can only make them
stricter."""


def rules_section() -> str:
    """Every rule with the threshold that the release has."""
    defaults = PrivacySettings()
    rows = []
    for name, rule in DESCRIPTIONS.items():
        value = getattr(defaults, rule.setting) if rule.setting else rule.fixed
        threshold = f"{value:g} (`{rule.setting}`)" if rule.setting else _fixed(value)
        rows.append([f"`{name}`", rule.protects, threshold, rule.text])
    return document(
        "## The rules",
        INTRODUCTION,
        table(["rule", "protects", "threshold", "what it says"], rows),
    ).rstrip("\n")


def thresholds(privacy: PrivacySettings) -> str:
    """The thresholds of one study beside those of the release."""
    defaults = PrivacySettings()
    rows = []
    for name in PrivacySettings.model_fields:
        own, release = getattr(privacy, name), getattr(defaults, name)
        guards = _guards(name)
        rows.append([f"`{name}`", str(own), str(release), guards])
    return document(
        STUDY_INTRODUCTION,
        table(["setting", "this study", "release", "protects"], rows),
    ).rstrip("\n")


def weakened(privacy: PrivacySettings) -> tuple[str, ...]:
    """Thresholds that are weaker than the release's, as "min_rows 5 (release 10)"."""
    defaults = PrivacySettings()
    found = []
    for name in PrivacySettings.model_fields:
        own, release = getattr(privacy, name), getattr(defaults, name)
        if isinstance(own, str):
            continue
        if own > release if name.startswith("max_") else own < release:
            found.append(f"`{name}` {own} (release {release})")
    return tuple(found)


def _guards(setting: str) -> str:
    """What a setting protects, from the rules that use it."""
    if setting == "mode":
        return "patients with extreme values"
    if setting == "masking":
        return "what one hospital contributes to a sum"
    return "; ".join(
        dict.fromkeys(r.protects for r in DESCRIPTIONS.values() if r.setting == setting)
    )


def _fixed(value: float) -> str:
    """0 and 1 stand for no and yes."""
    return f"{value:g} (fixed)" if value > 1 else "no number"
