"""The page of an outlook says what the lines say."""

from __future__ import annotations

from server.feasibility.assess import Outlook, SetOutlook
from server.feasibility.page import outlook_page
from tests import builders

TRAIN = SetOutlook("train", ("a", "b", "c"), 180, 40, False, {}, {})
TEST = SetOutlook("external", ("d",), 60, 20, True, {"d": ("curve_cells",)}, {0.8: 0.23})
OUTLOOK = Outlook(
    ("a would refuse: rule class_counts",), ("<b>",), (TRAIN, TEST), 300, 90, 2**20, None
)


def test_it_names_what_stops_the_study_counts_widths_and_effort() -> None:
    page = outlook_page(builders.study(), OUTLOOK, 2)
    assert "The study would not run as it is" in page and "rule class_counts" in page
    assert ">180<small>of those that share them</small>" in page
    assert 'data-cell="width-0.8">0.23<' in page and "d (curve_cells)" in page
    assert "Training patients that the clinical model needs" in page and "300" in page
    assert "Hours" not in page, "no speed is known"
    assert "&lt;b&gt;" in page and "<b>" not in page.partition("<section id=")[2]


def test_without_a_stop_it_says_so() -> None:
    page = outlook_page(builders.study(), Outlook((), (), (TEST,), None, 9, 0, 1.25), 1)
    assert "The study would run" in page and "What stops it" not in page
    assert "1.2" in page and "not shared" not in page
