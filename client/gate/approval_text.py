"""What a person approves when it is a study, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from client.store.masks import Rosters
from common.disclosure import DESCRIPTIONS, stricter
from common.masking import identity
from common.messages.exchanges import CATALOGUE
from common.study.model import PrivacySettings, SiteEntry, Study

LEAVES = {
    "query.enrol": "numbers of patients and positives, names of columns, versions of software,"
    " CPU or GPU",
    "query.sum": "sums over this site's patients, {masked}",
    "train.network": "changed network weights and sums of the loss, {masked}",
    "query.rows": "one line a training patient: probabilities to 3 decimals and the label, no ids",
    "evaluate.handout": "counts, areas under the curve and curves of this site's test patients",
}


def describe_study(study: Study, site: str, own: PrivacySettings | None) -> Iterator[str]:
    """Lines about a study, for the site whose own thresholds are given."""
    privacy = stricter(study.privacy, own)
    yield f"study {study.name}, digest {study.digest()}"
    yield f"predicts: {study.endpoint}"
    yield f"models: {', '.join((*study.base_models, *study.fusion_models))}"
    yield "who takes part (compare the fingerprints by phone):"
    for entry in study.sites:
        yield f"  {_member(entry, site)}"
    yield "test sets:"
    for test in study.test_sets:
        yield f"  {test.name}: {test.split} of {', '.join(test.sites)}"
    yield f"columns of cohort.csv that are read: label, split, {_columns(study)}"
    if study.needs_images:
        yield "CT images and contours are read; they stay here"
    yield "what leaves this hospital, and only this:"
    for exchange, words in _leaving(study):
        yield f"  {exchange} ({CATALOGUE[exchange].purpose}): {words}"
    yield "thresholds (the stricter of the study's and this site's own), and what they protect:"
    for rule, described in DESCRIPTIONS.items():
        if described.setting:
            threshold = getattr(privacy, described.setting)
            yield f"  {rule}: {described.setting} = {threshold}, for {described.protects}"
    yield f"privacy mode: {privacy.mode}; masking: {study.privacy.masking}"
    yield f"rounds: {_rounds(study)}"


def describe_left(study: Study, rosters: Rosters) -> Iterator[str]:
    """Lines about the hospitals that left for good, for the site that has these records."""
    if study.left:
        yield "WHO LEFT FOR GOOD, and signed that its own sums may be found by subtraction:"
    for statement in study.left:
        name, known = statement.site, rosters.recall(statement.roster)
        shown = identity.fingerprint(identity.public_key(statement.public_key))
        yield f"  {name}: key {shown}, roster {statement.roster[:12]}"
        if rosters.proves(statement):
            yield (
                f"    this is {name}'s key on record here: sums that were given together with"
                f" {name} are given again without it, and the difference is {name}'s alone;"
                " this hospital's stay hidden among those of the hospitals that stay"
            )
        elif known:
            yield (
                f"    NOT a key that {name} has on record here: do not approve, ask {name} by"
                " phone; sums over the same patients stay refused"
            )
        else:
            yield "    nothing is on record here of this roster: its statement changes nothing here"


def _member(entry: SiteEntry, site: str) -> str:
    key = "no key"
    if entry.public_key:
        key = f"key {identity.fingerprint(identity.public_key(entry.public_key))}"
    role = "trains" if entry.trains else "tests only"
    return f"{entry.name}: {role}, {key}{' <- this site' if entry.name == site else ''}"


def _columns(study: Study) -> str:
    return ", ".join(column.name for column in study.clinical) or "no clinical ones"


def _leaving(study: Study) -> Iterator[tuple[str, str]]:
    how = _masked(study)
    networks = {"dl2d", "dl3d"} & set(study.base_models)
    shares_rows = study.fusion.pooling == "rows"
    for exchange, words in LEAVES.items():
        unused = (exchange == "train.network" and not networks) or (
            exchange == "query.rows" and not shares_rows
        )
        yield exchange, "not used by this study" if unused else words.format(masked=how)


def _masked(study: Study) -> str:
    over_sites = [t.name for t in study.test_sets if len(t.sites) > 1]
    clear = [subset for subset in ("train", *over_sites) if not study.masked(subset)]
    words = "masked: readable only as a sum over all sites"
    return f"{words}; in the CLEAR: {', '.join(clear)}" if clear else words


def _rounds(study: Study) -> str:
    networks = [
        f"{name} {getattr(study, name).rounds}"
        for name in ("dl2d", "dl3d")
        if name in study.base_models
    ]
    return ", ".join([*networks, f"support vector machines at most {study.svm.max_rounds}"])
