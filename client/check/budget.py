"""Check what a study's private trainings would leave of the patients' privacy budget."""

from __future__ import annotations

import math

from client.check.finding import Findings, not_applicable, ok, problem, warning
from client.check.registry import check
from client.data.cohort import Cohort
from client.site import SiteSettings
from client.store.patient_budget import PatientBudget
from common.disclosure.rule import RULES
from common.study.model import Study

KIND = "disclosure.budget"


@check("patients", disclosure_budget="the networks cost no more than the patients' budget")
def check_budget(cohort: Cohort, study: Study, settings: SiteSettings) -> Findings:
    """Add this study's trainings to those of the same patients in earlier runs and studies."""
    budget = PatientBudget.of(settings, study, cohort)
    planned = tuple(budget.whole_study())
    if not planned or (budget.most is None and not study.differential_privacy.on):
        yield from not_applicable((KIND,), "no network is trained here, or none with noise")
        return
    before = budget.epsilon(budget.spent())
    after = budget.epsilon((*budget.spent(), *planned))
    what = (
        f"epsilon {_number(before)} was spent on these patients so far, {_number(after)} with this"
        f" study, at delta {budget.delta:.2g}; max_epsilon in site.toml is"
        f" {_number(budget.most) if budget.most else 'not set'}"
    )
    if budget.exceeded_by((*budget.spent(), *planned)):
        rule = RULES["privacy_budget"]
        yield problem(KIND, "", f"refused: {what} (rule {rule.name})", rule.remedy_here)
    elif budget.most is None:
        yield warning(KIND, "", what, "decide with the privacy officer on a max_epsilon")
    else:
        yield ok(KIND, what)


def _number(epsilon: float) -> str:
    return "without bound" if math.isinf(epsilon) else f"{epsilon:.3g}"
