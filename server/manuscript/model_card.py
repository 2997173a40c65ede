"""Model card of the final models, as Markdown.

Mitchell M et al. Model cards for model reporting. FAT* 2019:220-229.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from common.models import MODELS
from common.study.reporting import title_of
from server.manuscript import facts
from server.report import words
from server.report.reading import headline_model, main_run, set_label
from server.report.schema import Results

Section = tuple[str, tuple[Callable[[Results], str], ...], tuple[str, ...]]
SECTIONS: tuple[Section, ...] = (
    ("Model", (facts.kind_of_study, facts.building, facts.software, facts.seed), ()),
    ("Intended use", (), ("intended_use", "user_expertise")),
    ("Factors", (facts.subgroups, facts.clusters), ("image_acquisition", "fairness")),
    ("Output and cut-off", (facts.cutoff,), ()),
    ("Training data", (facts.synthetic, facts.hospitals, facts.flow), ("data_sources",)),
    ("Input", (facts.predictors, facts.missing_data), ("input_quality",)),
    ("Ethics and privacy", (facts.privacy,), ("ethics", "health_inequalities")),
    ("Caveats", (facts.warnings,), ("limitations", "next_steps")),
)


def model_card(results: Results, fields: Mapping[str, str]) -> str:
    """Return the card; a field that is not filled in is named."""
    head = [
        f"# Model card: {results.study.name}",
        "",
        "For research use only; not a medical device.",
    ]
    sections = chain.from_iterable(_section(one, results, fields) for one in SECTIONS)
    return "\n".join([*head, *sections, *_figures(results), ""])


def _section(section: Section, results: Results, fields: Mapping[str, str]) -> Iterator[str]:
    title, known, names = section
    yield from ("", f"## {title}")
    for fact in known:
        text = fact(results)
        if text:
            yield from ("", _plain(text))
    for name in names:
        text = fields.get(name) or f"*To be written: {title_of(name)} (`{name}`).*"
        yield from ("", text if text.startswith("*To be") else _plain(text))


def _figures(results: Results) -> Iterator[str]:
    model, run = headline_model(results), main_run(results)
    yield from ("", "## Performance", "")
    yield from ("| model | set | patients | AUC | 95 % CI |", "|---|---|---|---|---|")
    for row in results.performance:
        if row.run == run:
            label = MODELS[row.model].label if row.model in MODELS else row.model
            mark = "**" if row.model == model else ""
            patients = "withheld" if row.n is None else str(row.n)
            interval = words.interval(row.ci_low, row.ci_high)
            yield (
                f"| {mark}{_plain(label)}{mark} | {set_label(row.set)} | {patients}"
                f" | {words.auc(row.auc)} | {interval} |"
            )


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in text)
