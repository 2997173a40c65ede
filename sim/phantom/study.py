"""The study file of a phantom study."""

from __future__ import annotations

from sim.phantom.clinical import LEVELS
from sim.phantom.plan import PhantomPlan

_KINDS = (
    ("age", "continuous"),
    ("sex", "binary"),
    ("primary_site", "binary"),
    ("t_stage", "ordinal"),
    ("differentiation", "ordinal"),
    ("space_invasion", "binary"),
    ("cartilage_invasion", "binary"),
    ("max_diameter_cm", "continuous"),
    ("enhancement", "binary"),
)
_UNITS = {"age": "years", "max_diameter_cm": "cm"}


def study_text(plan: PhantomPlan, seed: int) -> str:
    """TOML of the study over this phantom's hospitals."""
    lines = [
        'preset = "phantom"',
        f'name = "{plan.name}"',
        'endpoint = "occult lymph-node metastasis (phantom)"',
        f"seed = {seed}",
        'strata = ["primary_site", "t_stage"]',
        "",
    ]
    if plan.rounds is not None:
        lines += [f"[dl2d]\nrounds = {plan.rounds}\n", f"[dl3d]\nrounds = {plan.rounds}\n"]
    for hospital in plan.hospitals:
        trains = "true" if hospital.train else "false"
        lines += ["[[sites]]", f'name = "{hospital.name}"', f"trains = {trains}", ""]
    training = tuple(hospital.name for hospital in plan.hospitals if hospital.train)
    lines += _test_set("internal", "internal_test", training)
    for name, sites in plan.external_sets:
        lines += _test_set(name, "external_test", sites)
    for column, kind in _KINDS:
        lines += ["[[clinical]]", f'name = "{column}"', f'kind = "{kind}"']
        if column in LEVELS:
            lines.append(f"levels = {_strings(LEVELS[column])}")
        if column in _UNITS:
            lines.append(f'unit = "{_UNITS[column]}"')
        lines.append("")
    return "\n".join(lines)


def _test_set(name: str, split: str, sites: tuple[str, ...]) -> list[str]:
    return [
        "[[test_sets]]",
        f'name = "{name}"',
        f'split = "{split}"',
        f"sites = {_strings(sites)}",
        "",
    ]


def _strings(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
