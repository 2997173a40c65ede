"""Block [reporting] of the study file: what a journal asks and no run can know.

The fields follow the items of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378) and CLAIM (Tejani et
al., Radiol Artif Intell 2024;6:e240300) that people have to answer. None is required.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from common.study.block import Settings

LONGEST = 4000
"""Characters of one answer."""


def _about(title: str) -> str:
    """Declare a text that is empty unless somebody writes it."""
    text: str = Field("", max_length=LONGEST, title=title)
    return text


Text = Annotated[str, Field(max_length=LONGEST)]


class ReportingFields(Settings):
    """Answers of the authors to what a reporting guideline asks; each is a text on one line."""

    title: Text = _about("title of the article: development or evaluation, population, outcome")
    healthcare_context: Text = _about(
        "diagnostic or prognostic, why the model is needed, models that exist"
    )
    intended_use: Text = _about("for which patients, at which point of their care, used by whom")
    health_inequalities: Text = _about("known differences in health between groups of people")
    objectives: Text = _about("objectives and hypotheses")
    data_sources: Text = _about("kind of data of each hospital, why these, how representative")
    accrual_dates: Text = _about(
        "prospective or retrospective, first and last date of accrual, end of follow-up"
    )
    setting: Text = _about("kind of care, and where each hospital is")
    eligibility: Text = _about("who was included and excluded")
    treatments: Text = _about("treatments received, and how the analysis handles them")
    image_acquisition: Text = _about("scanners, protocols, contrast, slice thickness")
    deidentification: Text = _about("how records and images were de-identified")
    outcome_definition: Text = _about(
        "the outcome and its horizon, how and when assessed, why this one, the same for all groups"
    )
    outcome_assessors: Text = _about(
        "who assessed the outcome, with which qualification and demographic characteristics"
    )
    outcome_blinding: Text = _about("what the assessors of the outcome did not know")
    predictor_choice: Text = _about("why these predictors were considered")
    predictor_measurement: Text = _about("how and when predictors were measured, and blinding")
    predictor_assessors: Text = _about(
        "who drew contours and read images, and how far two readers agree"
    )
    sample_size: Text = _about("how the number of patients was arrived at")
    fairness: Text = _about("what was done for fairness, and why")
    setting_differences: Text = _about(
        "how test patients differ from training patients in setting, eligibility, predictors"
    )
    ethics: Text = _about("ethics committee and its decision, consent or its waiver")
    funding: Text = _about("source of funding, and the funders' role")
    conflicts: Text = _about("conflicts of interest of all authors")
    protocol: Text = _about("where the protocol is, or that there was none")
    registration: Text = _about("register and number, or that the study was not registered")
    data_availability: Text = _about("who can have the data, and how")
    code_availability: Text = _about("where the code and the models are, and under which terms")
    patient_involvement: Text = _about(
        "how patients and the public took part, or that they did not"
    )
    explainability: Text = _about("what was done to explain predictions")
    failure_analysis: Text = _about("what wrongly classified patients had in common")
    interpretation: Text = _about(
        "what the results mean, fairness included, beside earlier studies"
    )
    limitations: Text = _about("limitations, and what they do to the results")
    input_quality: Text = _about("what a user does about poor or missing input")
    user_expertise: Text = _about("what a user has to do, and must be able to do")
    next_steps: Text = _about("what has to be studied next")

    def filled(self) -> dict[str, str]:
        """Return the answers that are there."""
        return {name: text for name, text in self.model_dump().items() if text}


def title_of(field: str) -> str:
    """Return what a field asks for.

    >>> title_of("objectives")
    'objectives and hypotheses'
    """
    return ReportingFields.model_fields[field].title or field
