"""TRIPOD+AI for Abstracts: the thirteen items that item 2 of TRIPOD+AI points to.

Collins GS et al. BMJ 2024;385:e078378. Topics are in our words; numbers and their order are those
of its checklist.
"""

from __future__ import annotations

from server.manuscript import facts
from server.manuscript.items import Item

TITLE = "TRIPOD+AI for Abstracts"
SOURCE = "Collins GS et al., BMJ 2024;385:e078378"
_T, _B, _M, _R, _D = "Title", "Background", "Methods", "Results", "Discussion"

ITEMS = (
    Item("1", _T, "Development or evaluation", (facts.kind_of_study,), ("title",)),
    Item("2", _B, "Healthcare context, rationale", (), ("healthcare_context",)),
    Item("3", "Objectives", "Objectives", (facts.kind_of_study,), ("objectives",)),
    Item("4", _M, "Sources of data", (facts.synthetic, facts.hospitals), ("data_sources",)),
    Item("5", _M, "Eligibility and setting", (facts.exclusions,), ("eligibility", "setting")),
    Item("6", _M, "Outcome and its horizon", (facts.endpoint,), ("outcome_definition",)),
    Item("7", _M, "Models, their building, internal validation", (facts.building_in_short,)),
    Item("8", _M, "Measures of performance", (facts.measures,)),
    Item("9", _R, "Participants and events", (facts.flow,), (), "flow.csv"),
    Item("10", _R, "Predictors of the final models", (facts.selection,), (), "report, features"),
    Item("11", _R, "Performance with intervals", (facts.performance, facts.calibration)),
    Item("12", _D, "Interpretation", (), ("interpretation",)),
    Item("13", "Registration", "Register and number", (), ("registration",)),
)
