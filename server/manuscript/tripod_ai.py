"""TRIPOD+AI: the items of prediction-model studies, by their official numbers.

Collins GS et al. TRIPOD+AI statement: updated guidance for reporting clinical prediction models
that use regression or machine learning methods. BMJ 2024;385:e078378. Topics are in our words;
sections, numbers and their order are those of its checklist, compared
with the table of the open-access article (PMC11019967). A run develops and evaluates models, so
that all items count: those for development, for evaluation, and for both.
"""

from __future__ import annotations

from server.manuscript import facts, size
from server.manuscript.items import Item

TITLE = "TRIPOD+AI"
SOURCE = "Collins GS et al., BMJ 2024;385:e078378"
_D, _P, _O, _M, _R, _S = (
    *("Methods: data", "Methods: predictors", "Methods: outcome"),
    *("Methods: analysis", "Results", "Open science"),
)

ITEMS = (
    Item("1", "Title", "Title", (facts.kind_of_study,), ("title",)),
    Item(
        *("2", "Abstract", "Abstract, by TRIPOD+AI for Abstracts"),
        *((facts.performance,), (), "the list for abstracts"),
    ),
    Item("3a", "Introduction", "Healthcare context, existing models", (), ("healthcare_context",)),
    Item("3b", "Introduction", "Target population and intended use", (), ("intended_use",)),
    Item("3c", "Introduction", "Known health inequalities", (), ("health_inequalities",)),
    Item("4", "Introduction", "Objectives", (facts.kind_of_study,), ("objectives",)),
    Item("5a", _D, "Sources of data", (facts.synthetic, facts.hospitals), ("data_sources",)),
    Item("5b", _D, "Dates of accrual and follow-up", (), ("accrual_dates",)),
    Item("6a", _D, "Setting and centres", (facts.hospitals,), ("setting",)),
    Item("6b", _D, "Eligibility", (facts.exclusions,), ("eligibility",)),
    Item("6c", _D, "Treatments", (), ("treatments",)),
    Item("7", _D, "Preparation and quality checks", (facts.preparation,), (), "report, settings"),
    Item("8a", _O, "Definition of the outcome", (facts.endpoint,), ("outcome_definition",)),
    Item("8b", _O, "Assessors of the outcome", (), ("outcome_assessors",)),
    Item("8c", _O, "Blinding of the outcome", (), ("outcome_blinding",)),
    Item(
        *("9a", _P, "Choice of predictors, pre-selection"),
        *((facts.predictors, facts.selection), ("predictor_choice",), "report, features"),
    ),
    Item(
        *("9b", _P, "Definition and measurement of predictors"),
        *((facts.definitions, facts.preparation), ("predictor_measurement",), "report, settings"),
    ),
    Item("9c", _P, "Assessors of predictors", (), ("predictor_assessors",)),
    Item(
        *("10", _M, "Sample size"),
        *((facts.flow, size.reached), ("sample_size",), "sample_size.csv"),
    ),
    Item("11", _M, "Missing data", (facts.missing_data, facts.exclusions), (), "report, Table 1"),
    Item("12a", _M, "Use and partition of the data", (facts.partition,), (), "report, patients"),
    Item("12b", _M, "Handling of predictors", (facts.handling,), (), "report, settings"),
    Item(
        *("12c", _M, "Models, tuning, internal validation"),
        *((facts.building,), (), "report, settings"),
    ),
    Item("12d", _M, "Heterogeneity between clusters", (facts.clusters,), (), "report, hospitals"),
    Item("12e", _M, "Measures and plots of performance", (facts.measures,), (), "report"),
    Item("12f", _M, "Model updating", (facts.updating,), (), "report, calibration"),
    Item("12g", _M, "How predictions are calculated", (facts.specification,), (), "bundle/"),
    Item("13", _M, "Class imbalance", (facts.imbalance,), (), "report, settings"),
    Item("14", _M, "Fairness", (facts.subgroups,), ("fairness",), "report, subgroups"),
    Item("15", _M, "Output and thresholds", (facts.cutoff,), (), "tables/performance.csv"),
    Item(
        *("16", _M, "Differences between training and evaluation"),
        *((facts.differences,), ("setting_differences",), "report, Table 1"),
    ),
    Item("17", _M, "Ethical approval, consent", (), ("ethics",)),
    Item("18a", _S, "Funding", (), ("funding",)),
    Item("18b", _S, "Conflicts of interest", (), ("conflicts",)),
    Item("18c", _S, "Protocol", (facts.seed,), ("protocol",)),
    Item("18d", _S, "Registration", (), ("registration",)),
    Item("18e", _S, "Data sharing", (facts.privacy,), ("data_availability",)),
    Item("18f", _S, "Code sharing", (facts.software,), ("code_availability",)),
    Item(
        "19", "Patient and public involvement", "Involvement, or none", (), ("patient_involvement",)
    ),
    Item("20a", _R, "Flow of participants", (facts.flow,), (), "flow.csv; report, patients"),
    Item("20b", _R, "Characteristics", (facts.characteristics,), (), "tables/table1.csv"),
    Item(
        "20c", _R, "Comparison with the training data", (facts.differences,), (), "report, Table 1"
    ),
    Item(
        *("21", _R, "Participants and events by analysis"),
        *((facts.flow, facts.partition), (), "flow.csv; sample_size.csv"),
    ),
    Item(
        *("22", _R, "Full model, and restrictions to its use"),
        *((facts.specification,), ("code_availability",), "model-*.csv; bundle/"),
    ),
    Item(
        *("23a", _R, "Performance with intervals, subgroups"),
        (facts.performance, facts.calibration, facts.diagnostic, facts.subgroups),
        (),
        "tables/performance.csv, measures.csv, calibration.csv, strata.csv",
    ),
    Item(
        *("23b", _R, "Heterogeneity of performance"),
        *((facts.heterogeneity, facts.references), (), "tables/heterogeneity.csv"),
    ),
    Item("24", _R, "Results of updating", (facts.updating,), (), "report, calibration"),
    Item("25", "Discussion", "Interpretation", (), ("interpretation",)),
    Item("26", "Discussion", "Limitations", (facts.warnings,), ("limitations",)),
    Item(
        *("27a", "Discussion", "Poor or missing input"),
        *((facts.input_quality,), ("input_quality",), "fedlnm-site predict"),
    ),
    Item("27b", "Discussion", "Users' part and expertise", (), ("user_expertise",)),
    Item("27c", "Discussion", "Next steps", (), ("next_steps",)),
)
