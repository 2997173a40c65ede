"""Judge from the hospitals' own checks whether a study would run, and what it would show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from common.dossier.markdown import size
from common.errors import InputError
from common.evaluation.sample_size import expected_width, patients_to_develop
from common.messages.feasibility import FeasibilityReport
from common.study.model import Study
from common.study.release_mark import own_release
from common.utils.versions import minor_release
from server.phases.program import declared_phases

TRAIN = "train"
AREAS = (0.7, 0.8, 0.9)
SECONDS_A_ROUND = 2.0
"""Wall time of a round of small messages over a network; bench/results.md measures it."""
BOTH_WAYS = 2


@dataclass(frozen=True)
class SetOutlook:
    """Outlook of one set.

    Parameters
    ----------
    patients, positives : over the hospitals that share them; None = none does.
    complete : all of its hospitals share their counts.
    withheld : hospitals whose own part stays withheld, with the rules.
    widths : width of the 95 % interval of an AUC, by AUC.
    """

    name: str
    sites: tuple[str, ...]
    patients: int | None
    positives: int | None
    complete: bool
    withheld: Mapping[str, tuple[str, ...]]
    widths: Mapping[float, float]


@dataclass(frozen=True)
class Outlook:
    """Everything that the files say together.

    Parameters
    ----------
    stops : reasons for which the study would not run, a sentence each.
    notes : sentences to read with the rest.
    needed : patients that Riley's criteria ask for, None where they cannot be worked out.
    rounds, bytes_up : at most; the bytes are those of the hospital that sends most.
    hours : at least, without computing; None where no speed is known.
    """

    stops: tuple[str, ...]
    notes: tuple[str, ...]
    sets: tuple[SetOutlook, ...]
    needed: int | None
    rounds: int
    bytes_up: int
    hours: float | None
    trains: tuple[str, ...] = field(default=())

    @property
    def feasible(self) -> bool:
        """True where nothing stops the study."""
        return not self.stops


def assess(study: Study, reports: Sequence[FeasibilityReport]) -> Outlook:
    """Put the hospitals' files together.

    Raises
    ------
    InputError : a file about another study, of a hospital that is not in it, or a second one.
    """
    by_site = _by_site(study, reports)
    stops = [*_stops(study, by_site)]
    load = [sum(phase.bytes_up for phase in one.load) for one in reports]
    rounds = sum(phase.rounds for phase in declared_phases(study))
    sets = tuple(_set(study, name, by_site) for name in (TRAIN, *_tests(study)))
    return Outlook(
        stops=tuple(stops),
        notes=tuple(_notes(study, by_site)),
        sets=sets,
        needed=_needed(study, sets[0]),
        rounds=rounds,
        bytes_up=max(load, default=0),
        hours=_hours(rounds, reports),
        trains=tuple(site for site in study.training_sites if _trains(by_site.get(site))),
    )


def _by_site(study: Study, reports: Sequence[FeasibilityReport]) -> dict[str, FeasibilityReport]:
    found: dict[str, FeasibilityReport] = {}
    for one in reports:
        if one.digest != study.digest():
            raise InputError(
                "the hospital checked another version of the study",
                where=one.site,
                remedy="send it this study.toml and ask for a new file",
            )
        if one.site not in study.site_names:
            known = ", ".join(study.site_names)
            raise InputError(
                "not a hospital of the study", where=one.site, remedy=f"in it: {known}"
            )
        if one.site in found:
            raise InputError("a second file of this hospital", where=one.site, remedy="give one")
        found[one.site] = one
    return found


def _tests(study: Study) -> tuple[str, ...]:
    return tuple(test.name for test in study.test_sets)


def _trains(report: FeasibilityReport | None) -> bool:
    return report is not None and not any(rule.stops for rule in report.rules)


def _stops(study: Study, by_site: Mapping[str, FeasibilityReport]) -> Iterator[str]:
    for subset in study.too_few_to_mask():
        yield f"sums over {subset} cannot be masked: fewer than three hospitals hold its patients"
    for site, report in by_site.items():
        for rule in report.rules:
            if rule.stops:
                where = f", {rule.subset}" if rule.subset else ""
                limit = "" if rule.threshold is None else f" (limit {rule.threshold})"
                yield f"{site} would refuse: rule {rule.rule}{limit}{where}"
        if report.open_checks and not report.ready:
            yield f"{site} is not ready: {', '.join(report.open_checks)}"


def _notes(study: Study, by_site: Mapping[str, FeasibilityReport]) -> Iterator[str]:
    absent = [site for site in study.site_names if site not in by_site]
    if absent:
        yield f"No file of {', '.join(absent)}: nothing here speaks of them."
    for site, report in by_site.items():
        if minor_release(report.release) != minor_release(own_release()):
            yield f"{site} has fedlnm {report.release}: it needs another release to take part."
    slow = [site for site in study.training_sites if _device(by_site, site) == "cpu"]
    if study.networks and slow:
        yield f"Networks would be trained without a graphics card at {', '.join(slow)}."
    yield (
        "Rules that look at the patients of several hospitals together, such as cells of ranks, are"
        " decided in the run alone."
    )


def _device(by_site: Mapping[str, FeasibilityReport], site: str) -> str:
    return by_site[site].device if site in by_site else ""


def _set(study: Study, name: str, by_site: Mapping[str, FeasibilityReport]) -> SetOutlook:
    sites = study.members(name)
    counts = [one for site in sites if site in by_site for one in by_site[site].counts]
    own = [one for one in counts if one.subset == name]
    known = [one for one in own if one.patients is not None and one.positives is not None]
    patients = sum(one.patients or 0 for one in known) if known else None
    positives = sum(one.positives or 0 for one in known) if known else None
    withheld = {
        site: tuple(r.rule for r in by_site[site].rules if r.subset == name and not r.stops)
        for site in sites
        if site in by_site
    }
    return SetOutlook(
        name=name,
        sites=sites,
        patients=patients,
        positives=positives,
        complete=len(known) == len(sites),
        withheld={site: rules for site, rules in withheld.items() if rules},
        widths={} if name == TRAIN else _widths(patients, positives),
    )


def _widths(patients: int | None, positives: int | None) -> dict[float, float]:
    if patients is None or positives is None or not 0 < positives < patients:
        return {}
    return {auc: expected_width(auc, positives, patients - positives) for auc in AREAS}


def _needed(study: Study, training: SetOutlook) -> int | None:
    """Return the patients that the clinical model needs by Riley's criteria."""
    n, positives = training.patients, training.positives
    if "clinical" not in study.base_models or not n or not positives or positives == n:
        return None
    parameters = len(study.clinical_columns)
    return patients_to_develop(parameters, positives / n).patients if parameters else None


def _hours(rounds: int, reports: Sequence[FeasibilityReport]) -> float | None:
    """Return the time on the slowest line, and of so many rounds, without any computing."""
    seconds = [
        BOTH_WAYS * sum(phase.bytes_up for phase in one.load) * 8e-6 / one.mbit_per_second
        for one in reports
        if one.mbit_per_second
    ]
    return (max(seconds) + rounds * SECONDS_A_ROUND) / 3600.0 if seconds else None


def lines(found: Outlook) -> Iterator[str]:
    """Return the outlook in words, a line each."""
    yield "The study would run." if found.feasible else "The study would not run as it is."
    yield from (f"  stops: {text}" for text in found.stops)
    yield f"Could train: {', '.join(found.trains) or 'nobody'}."
    for one in found.sets:
        yield _of_set(one)
    if found.needed is not None:
        yield (
            f"The clinical model would need {found.needed} training patients by the criteria of"
            " Riley et al. (15 % of the largest R2)."
        )
    yield f"At most {found.rounds:,} rounds, and {size(found.bytes_up)} sent by one hospital."
    if found.hours is not None:
        yield f"At least {found.hours:.1f} hours on the slowest line, computing not included."
    yield from found.notes


def _of_set(one: SetOutlook) -> str:
    counts = "counts withheld by all"
    if one.patients is not None:
        some = "" if one.complete else " (of the hospitals that share them)"
        counts = f"{one.patients} patients, {one.positives} with the endpoint{some}"
    text = f"{one.name}, {len(one.sites)} hospital(s): {counts}"
    if one.widths:
        widths = ", ".join(f"{width:.2f} at {auc}" for auc, width in one.widths.items())
        text += f"; width of the interval of an AUC: {widths}"
    alone = len(one.sites) == 1
    for site, rules in one.withheld.items():
        what = "its measures are withheld" if alone else f"the part of {site} is withheld"
        text += f"; {what} (rule {', '.join(rules)})"
    return text
