"""CLAIM, update of 2024: the items of studies of artificial intelligence in medical imaging.

Tejani AS et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 update.
Radiol Artif Intell 2024;6:e240300. Topics are in our words; sections, numbers and their order are
those of the checklist that the Radiological Society of North America publishes (github.com/RSNA/
CLAIM).
"""

from __future__ import annotations

from server.manuscript import facts
from server.manuscript.items import Item

TITLE = "CLAIM (2024)"
SOURCE = "Tejani AS et al., Radiol Artif Intell 2024;6:e240300"
_D, _T, _A, _M = "Methods: data", "Methods: reference standard", "Methods: partitions", "Model"
_N, _E, _R, _O = "Training", "Evaluation", "Results", "Other information"

ITEMS = (
    Item("1", "Title", "Category of technology", (facts.technique,), ("title",)),
    Item("2", "Abstract", "Structured summary", (facts.performance,), (), "report, summary"),
    Item(
        "3",
        "Introduction",
        "Background and intended use",
        (),
        ("healthcare_context", "intended_use"),
    ),
    Item("4", "Introduction", "Aims and hypotheses", (facts.kind_of_study,), ("objectives",)),
    Item("5", "Study design", "Prospective or retrospective", (), ("accrual_dates",)),
    Item("6", "Study design", "Goal of the study", (facts.kind_of_study,), (), ""),
    Item("7", _D, "Sources of data", (facts.synthetic, facts.hospitals), ("data_sources",)),
    Item("8", _D, "Inclusion and exclusion", (facts.exclusions,), ("eligibility",)),
    Item("9", _D, "Preprocessing", (facts.preparation,), (), "report, settings"),
    Item(
        *("10", _D, "Selection of subsets of the data"),
        *((facts.partition, facts.slices), (), "report, settings"),
    ),
    Item("11", _D, "De-identification", (facts.privacy,), ("deidentification",)),
    Item("12", _D, "Missing data", (facts.missing_data,), (), "report, Table 1"),
    Item("13", _D, "Image acquisition", (), ("image_acquisition",)),
    Item("14", _T, "Definition", (facts.endpoint,), ("outcome_definition",)),
    Item("15", _T, "Rationale", (), ("outcome_definition",)),
    Item("16", _T, "Source of annotations", (), ("outcome_assessors", "predictor_assessors")),
    Item("17", _T, "Annotation of the test set", (), ("outcome_assessors",)),
    Item(
        "18",
        _T,
        "Variability between and within raters",
        (facts.repeatability,),
        ("predictor_assessors",),
    ),
    Item("19", _A, "How patients were assigned", (facts.partition,), (), "report, patients"),
    Item("20", _A, "Level at which sets are disjoint", (facts.partition,), (), ""),
    Item(
        "21",
        "Testing data",
        "Intended sample size",
        (facts.flow,),
        ("sample_size",),
        "sample_size.csv",
    ),
    Item("22", _M, "Description of the models", (facts.building,), (), "model-*.csv; bundle/"),
    Item("23", _M, "Software", (facts.software,), (), "report, versions"),
    Item("24", _M, "Initial weights", (facts.initialisation,), (), "report, settings"),
    Item("25", _N, "Training", (facts.building,), (), "report, networks"),
    Item(
        "26",
        _N,
        "Choice of the final model",
        (facts.selection, facts.cutoff),
        (),
        "report, features",
    ),
    Item("27", _N, "Ensembles", (facts.ensemble,), (), "report, fusion"),
    Item("28", _E, "Measures", (facts.measures,), (), "report"),
    Item("29", _E, "Significance and uncertainty", (facts.measures,), (), "tables/delong.csv"),
    Item("30", _E, "Robustness", (facts.references, facts.heterogeneity), (), "report, hospitals"),
    Item("31", _E, "Explainability", (facts.weights,), ("explainability",), "figures/weights*.svg"),
    Item("32", _E, "Internal data", (facts.partition,), (), "tables/performance.csv"),
    Item("33", _E, "External data", (facts.hospitals,), (), "tables/performance.csv"),
    Item("34", _E, "Registration of a clinical trial", (), ("registration",)),
    Item(
        "35", _R, "Patients included and excluded", (facts.flow, facts.exclusions), (), "flow.csv"
    ),
    Item("36", _R, "Characteristics by set", (facts.characteristics,), (), "tables/table1.csv"),
    Item(
        "37", _R, "Performance and uncertainty", (facts.performance,), (), "tables/performance.csv"
    ),
    Item(
        "38",
        _R,
        "Diagnostic performance, precision",
        (facts.diagnostic, facts.calibration),
        (),
        "tables/measures.csv, calibration.csv",
    ),
    Item("39", _R, "Failure analysis", (facts.subgroups,), ("failure_analysis",)),
    Item("40", "Discussion", "Limitations", (facts.warnings,), ("limitations",)),
    Item("41", "Discussion", "Implications", (), ("interpretation", "next_steps")),
    Item("42", _O, "Protocol", (facts.seed,), ("protocol",)),
    Item(
        "43",
        _O,
        "Software, models and data",
        (facts.software,),
        ("code_availability", "data_availability"),
    ),
    Item("44", _O, "Funding", (), ("funding",)),
)
