"""Disclosure rules as pure functions: checked at the site, before anything leaves.

Thresholds come from the study, a site may only tighten them. A refusal names the rule, the
threshold and the set of patients; never the value, nor anything that a value chose.
"""

import importlib
import pkgutil

from common.disclosure.foretelling import Foretold, foretell
from common.disclosure.forms import FormError, check_form, check_models, check_out_of_fold
from common.disclosure.gradients import check_rounds
from common.disclosure.rounds import check_drawn, check_plan
from common.disclosure.rule import RULES, Rule, once, refusal, stricter
from common.disclosure.scores import check_test_set
from common.disclosure.sums import check_sum
from common.disclosure.training import (
    check_enrolment,
    check_masking,
    check_training_sum,
    check_weights,
)

__all__ = [
    "RULES",
    "Foretold",
    "FormError",
    "Rule",
    "check_drawn",
    "check_enrolment",
    "check_form",
    "check_masking",
    "check_models",
    "check_out_of_fold",
    "check_places",
    "check_plan",
    "check_pooling",
    "check_rounds",
    "check_sum",
    "check_test_set",
    "check_training_sum",
    "check_weights",
    "find_rules",
    "foretell",
    "once",
    "refusal",
    "stricter",
]


def find_rules() -> None:
    """Import every module of this folder: one that only declares a rule, nobody else imports."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


find_rules()
