"""Findings of the check, their report, and how it stands on screen: the most severe last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from common.disclosure.foretelling import Foretold
from common.errors import StudyError

KINDS: dict[str, str] = {
    "study.site": "the study's roster names this site, and what for",
    "study.coordinator": "the study is of the coordinator that this site joined",
    "study.approval": "this very study is approved here",
    "study.not_applicable": "checks that the study does not ask for here, all in one row",
    "software.release": "the study was prepared with the release that is installed here",
    "software.versions": "packages are of the versions that this release asks for",
    "software.flower": "the gate fits the installed Flower",
    "cohort.file": "cohort.csv is there and can be read",
    "cohort.columns": "every column that the study reads is there",
    "cohort.id": "every row has a patient id",
    "cohort.duplicate": "a patient is listed once",
    "cohort.two_splits": "a patient is in one split only",
    "cohort.label": "labels are 0 or 1",
    "cohort.split": "splits are train, internal_test or external_test",
    "cohort.level": "levels are those of the study",
    "cohort.number": "numbers are numbers, with the decimals that the study names",
    "cohort.units": "values are possible for what the column is, and near the others",
    "cohort.missing": "columns have values",
    "cohort.skewed": "values are not on a scale that suggests a logarithm",
    "image.missing": "every image is where cohort.csv says",
    "image.unusable": "every image can be read to its end",
    "image.passed_over": "files that lie with a DICOM series and are not read",
    "image.complete": "headers of a DICOM series tell of no slices that are not there",
    "image.geometry": "voxels and volumes have plausible sizes",
    "image.units": "grey values are HU",
    "image.shared": "no two patients have the same image",
    "image.prepared": "crops and features can be made of every image",
    "mask.missing": "every contour is where cohort.csv says",
    "mask.unusable": "every contour fits its image, and has one label",
    "mask.confirmed": "what the site confirmed of contours is known, and needed",
    "mask.place": "the region of interest lies in soft tissue, inside the image",
    "mask.size": "regions have plausible volumes, in one piece",
    "mask.readings": "repeat readings are of the same tumour, and are not copies",
    "counts.subset": "the site has the patients that the study expects of it",
    "counts.fold": "every fold holds both classes",
    "disclosure.enrolment": "what the site would refuse at once",
    "disclosure.training": "what the site would refuse about training patients",
    "disclosure.readings": "what the site would refuse about repeat readings",
    "disclosure.test_set": "what the site would withhold about test patients",
    "disclosure.masking": "sums can be masked",
    "disclosure.earlier": "patients that came, went or were corrected since an earlier release",
    "disclosure.roster": "hospitals that came or went since an earlier release",
    "disclosure.others": "rules that depend on the other hospitals' patients",
    "identifiers.cohort": "ids and columns of cohort.csv tell nobody's name, date or number",
    "identifiers.files": "names of files and folders tell nobody's name, date or number",
    "identifiers.headers": "headers of images and contours tell nobody's name, date or number",
    "keys.identity": "the site's identity key is there, private, and the one the study names",
    "keys.node": "the node's key is there, private, and of the right kind",
    "keys.others": "other keys at this site are private",
    "machine.private": "what studies keep here is for this user alone",
    "machine.disk": "there is room for what is kept on disk",
    "machine.memory": "there is memory for preparation and training",
    "machine.device": "what networks are trained on",
    "machine.clock": "the clock is right",
    "coordinator.proxy": "the hospital's proxy lets this machine through",
    "coordinator.reach": "the coordinator answers",
    "coordinator.certificate": "the coordinator's certificate holds",
    "transfer.payload": "bytes that the study sends and fetches",
    "transfer.time": "how long that takes",
}


Severity = Literal["ok", "not applicable", "not checked", "warning", "problem"]
SEVERITIES: tuple[Severity, ...] = ("ok", "not applicable", "not checked", "warning", "problem")
NOT_APPLICABLE = "study.not_applicable"
SCHEMA = 2


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Parameters
    ----------
    kind : one of `KINDS`; ValueError otherwise.
    severity : `problem` must be corrected, `warning` should be looked at, `not checked` could not
        be determined, `not applicable` is nothing that this study asks of this site.
    where : file, row, patient, host or setting; empty for the whole site.
    what : in words; with `not checked`, why.
    remedy : what to do; empty when there is nothing to do.
    """

    kind: str
    severity: Severity
    where: str
    what: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no kind of finding is called {self.kind!r}")

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" -> {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"


Findings = Iterator[Finding]


def ok(kind: str, what: str, where: str = "") -> Finding:
    """Return a finding without fault."""
    return Finding(kind, "ok", where, what)


def warning(kind: str, where: str, what: str, remedy: str) -> Finding:
    """Return a finding that may be a fault."""
    return Finding(kind, "warning", where, what, remedy)


def problem(kind: str, where: str, what: str, remedy: str) -> Finding:
    """Return a finding that is a fault."""
    return Finding(kind, "problem", where, what, remedy)


def problem_of(kind: str, error: StudyError) -> Finding:
    """Convert an error to a finding."""
    return Finding(kind, "problem", error.where, error.what, error.remedy)


def not_checked(kinds: Iterable[str], why: str, remedy: str = "") -> Findings:
    """Yield one finding for each kind that could not be checked."""
    for kind in kinds:
        yield Finding(kind, "not checked", "", why, remedy)


def not_applicable(kinds: Iterable[str], why: str) -> Findings:
    """Yield one finding for each kind that does not apply here; `gathered` merges them."""
    for kind in kinds:
        yield Finding(kind, "not applicable", "", why)


def gathered(found: Iterable[Finding]) -> list[Finding]:
    """Merge all findings that do not apply into one at the end."""
    rows = list(found)
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row.severity == "not applicable":
            kinds.setdefault(row.what, []).append(row.kind)
    kept = [row for row in rows if row.severity != "not applicable"]
    if not kinds:
        return kept
    reasons = "; ".join(f"{why} ({', '.join(_by_topic(own))})" for why, own in kinds.items())
    what = f"not applicable to this study: {reasons}"
    return [*kept, Finding(NOT_APPLICABLE, "not applicable", "", what)]


def _by_topic(kinds: Iterable[str]) -> Iterator[str]:
    """Yield names of kinds; a whole topic is one name ("image.*")."""
    own = dict.fromkeys(kinds)
    for kind in own:
        topic = kind.partition(".")[0]
        whole = placed(topic)
        if not set(whole) <= set(own):
            yield kind
        elif kind == next(name for name in own if name in whole):
            yield f"{topic}.*"


def or_ok(found: Iterable[Finding], fine: Mapping[str, str]) -> Findings:
    """Yield the findings, then one for each kind without any.

    Parameters
    ----------
    fine : text without findings, by kind.
    """
    rows = tuple(found)
    yield from rows
    seen = {row.kind for row in rows}
    yield from (ok(kind, what) for kind, what in fine.items() if kind not in seen)


def placed(kind: str) -> tuple[str, ...]:
    """Return all kinds of a topic, such as "mask"."""
    return tuple(name for name in KINDS if name.startswith(f"{kind}."))


@dataclass(frozen=True)
class Load:
    """Largest traffic of one phase of the study at this site.

    Parameters
    ----------
    rounds : questions.
    largest : bytes of the largest answer.
    total : bytes of all answers, frames of messages included.
    """

    phase: str
    rounds: int
    largest: int
    total: int


@dataclass(frozen=True)
class Speed:
    """Speed of the line to the coordinator; `measured` is False for a given one."""

    mbit_per_second: float
    measured: bool

    def seconds(self, size: float) -> float:
        """Return the time to transfer this many bytes."""
        return 8e-6 * size / self.mbit_per_second


@dataclass
class Report:
    """Usable patients, findings, and the study's traffic.

    Parameters
    ----------
    counts : patients and positives by subset.
    folds : patients and positives of every training fold; empty where the site does not train.
    foreseen : refusals by the rules that this site's patients decide; None = not reached.
    stopped : True if somebody stopped the check before its end.
    """

    site: str
    study: str
    digest: str
    patients: int = 0
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    folds: tuple[tuple[int, int], ...] = ()
    findings: list[Finding] = field(default_factory=list)
    load: tuple[Load, ...] = ()
    speed: Speed | None = None
    foreseen: Foretold | None = None
    stopped: bool = False

    @property
    def ready(self) -> bool:
        """True if the check is complete without problems."""
        return not self.stopped and not self.of("problem")

    def of(self, severity: Severity) -> list[Finding]:
        """Return findings of one severity, in the order in which they were found."""
        return [finding for finding in self.findings if finding.severity == severity]

    def as_dict(self) -> dict[str, object]:
        """Return the object for --json; see docs/check.md."""
        return {
            "schema": SCHEMA,
            "site": self.site,
            "study": {"name": self.study, "digest": self.digest},
            "ready": self.ready,
            "stopped": self.stopped,
            "patients": self.patients,
            "counts": dict(self.counts),
            "folds": list(self.folds),
            "findings": [asdict(finding) for finding in self.findings],
            "load": [asdict(phase) for phase in self.load],
            "speed": asdict(self.speed) if self.speed else None,
        }


SHOWN = 5


def listed(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


_COLOURS: dict[Severity, str] = {
    "ok": "green",
    "not applicable": "dim",
    "not checked": "cyan",
    "warning": "yellow",
    "problem": "red",
}


def show(report: Report, console: Console) -> None:
    """Print tables, and the verdict as the last line."""
    console.print(_patients(report))
    console.print(_findings(report))
    counts = {severity: len(report.of(severity)) for severity in SEVERITIES[2:]}
    numbers = f"{counts.pop('not checked')} not checked, " + ", ".join(
        f"{n} {severity}{'' if n == 1 else 's'}" for severity, n in counts.items()
    )
    verdict = "ready" if report.ready else "not ready"
    if report.stopped:
        verdict = "stopped, so not everything was looked at"
    console.print(f"{verdict}: {numbers}", highlight=False)


def emit(finding: Finding, console: Console) -> None:
    """Print a finding as soon as it is made, while the check continues."""
    colour = _COLOURS[finding.severity]
    line = f"[{colour}]{finding.severity}[/{colour}] {finding.kind}: {escape(str(finding))}"
    console.print(line, highlight=False)


def _patients(report: Report) -> Table:
    title = f"{report.site} in the study {report.study}: {report.patients} usable patients"
    table = Table(title=escape(title), title_justify="left")
    for heading in ("subset", "patients", "positive"):
        table.add_column(heading)
    for name, (n, positives) in report.counts.items():
        table.add_row(escape(name), str(n), str(positives))
        if name == "train":
            for fold, (own, own_positives) in enumerate(report.folds):
                table.add_row(f"  fold {fold + 1}", str(own), str(own_positives))
    return table


def _findings(report: Report) -> Table:
    table = Table(title="Findings", title_justify="left", show_lines=False)
    for heading in ("", "check"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what, and what to do", ratio=1)
    for severity in SEVERITIES:
        for finding in report.of(severity):
            colour = _COLOURS[severity]
            table.add_row(f"[{colour}]{severity}[/{colour}]", finding.kind, _words(finding))
    return table


def _words(finding: Finding) -> str:
    where = f"[bold]{escape(finding.where)}[/bold]: " if finding.where else ""
    remedy = f"\n-> {escape(finding.remedy)}" if finding.remedy else ""
    return f"{where}{escape(finding.what)}{remedy}"
