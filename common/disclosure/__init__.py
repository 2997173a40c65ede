"""Disclosure rules as pure functions: checked at the site, before anything leaves.

Thresholds come from the study, a site may only tighten them. A refusal names the rule, the
threshold and the subject; never the value.
"""

from common.disclosure.descriptions import DESCRIPTIONS, Description
from common.disclosure.foretelling import Foretold, foretell
from common.disclosure.forms import FormError, check_form, check_models, check_out_of_fold
from common.disclosure.gradients import check_rounds
from common.disclosure.refusing import refusal
from common.disclosure.scores import check_test_set
from common.disclosure.sums import check_sum
from common.disclosure.thresholds import stricter
from common.disclosure.training import (
    check_enrolment,
    check_masking,
    check_out_of_fold_rows,
    check_training_sum,
    check_weights,
)

__all__ = [
    "DESCRIPTIONS",
    "Description",
    "Foretold",
    "FormError",
    "check_enrolment",
    "check_form",
    "check_masking",
    "check_models",
    "check_out_of_fold",
    "check_out_of_fold_rows",
    "check_rounds",
    "check_sum",
    "check_test_set",
    "check_training_sum",
    "check_weights",
    "foretell",
    "refusal",
    "stricter",
]
