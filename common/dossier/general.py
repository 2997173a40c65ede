"""The general dossier: what holds for every study."""

from __future__ import annotations

from common.dossier.markdown import document, table
from common.dossier.messages import messages_section
from common.dossier.rules_section import rules_section
from common.dossier.statistics_section import statistics_section
from common.dossier.texts import attacks, text_of
from common.study.model import FEWEST_MASKED

HEAD = """\
# Privacy dossier

For the privacy officer of a hospital that is asked to take part. The first page is in plain words;
the tables after it list everything that can leave. They are made from the program itself by
`make dossier`, and a test fails when they no longer fit. Each study has a dossier of its own beside
this one, with its real sizes: `fedlnm-site approve STUDY.toml` shows its first page and leaves all
of it at the hospital, and every run has a `privacy-dossier.md` in its folder."""
NOT_MEASURED = "not measured in this release"


def general_dossier() -> str:
    """Markdown."""
    words = text_of("plain_words.md").format(fewest_masked=FEWEST_MASKED)
    return document(
        HEAD,
        words,
        rules_section(),
        messages_section(),
        statistics_section(),
        attacks_section(),
        text_of("words.md"),
    )


def attacks_section() -> str:
    """The attacks and, where measured, how far they came."""
    rows = [
        [one.attack, one.setting, f"{one.result} ({one.source})" if one.result else NOT_MEASURED]
        for one in attacks()
    ]
    return document(
        "## Attacks that were tried",
        "What somebody who holds the numbers could try, and how far it came. Tests of this"
        " repository repeat every figure; where there is none, nothing is claimed.",
        table(["attack", "setting", "result"], rows),
    ).rstrip("\n")
