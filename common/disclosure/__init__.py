"""Disclosure rules as pure functions: checked at the site, before anything leaves.

Thresholds come from the study, a site may only tighten them. A refusal names the rule, the
threshold and the set of patients; never the value, nor anything that a value chose.
"""

import importlib
import pkgutil

FAMILIES = ("tables", "training", "grams", "gradients", "rounds", "pooled_rows", "scores", "sums")
"""Files of rules that people read first, in this order."""


def find_rules() -> None:
    """Import every module of this folder: one that only declares a rule, nobody else imports."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    for name in dict.fromkeys((*FAMILIES, *names)):
        importlib.import_module(f"{__name__}.{name}")


find_rules()
