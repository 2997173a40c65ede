"""The dossier of one study: who takes part, what is asked, how large it is, what is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from common.dossier.asked import EVERYBODY, FRAME, Asked, Phase
from common.dossier.markdown import bullets, document, size, table
from common.dossier.plan import clinical_width, model_columns, models_of, plan
from common.dossier.rules_section import thresholds
from common.dossier.unprotected import unprotected
from common.masking import identity
from common.study.model import SiteEntry, Study

MODELS = {
    "clinical": "clinical values",
    "radiomics": "radiomics features",
    "dl2d": "2D network",
    "dl3d": "3D network",
    "fusion_feature": "features of all together",
    "fusion_decision": "probabilities of all together",
}
HEAD = """\
For the privacy officer of a hospital of this study. It is made from the study file by the program
that runs the study. What messages, statistics and rules are, and what somebody could do with them,
stands in the general dossier (`docs/privacy-dossier.md`)."""
SIZES = """\
Shapes and bytes are upper bounds, known before anything is asked. Features that repeat each other
are dropped on the way, so the sums after that step are usually much smaller. *Bytes* are what one
hospital sends in one round, *rounds* how often at most. *Columns* are those of one table; "6 x"
means that six tables are asked about in one round. The sums in the first table count a frame of
{frame} bytes a message."""


def study_dossier(study: Study, transfers: Iterable[Mapping[str, object]] = ()) -> str:
    """Markdown.

    Parameters
    ----------
    transfers : rows of transfers.csv of the federated run, when it is over.
    """
    phases = plan(study)
    return document(
        f"# Privacy dossier of the study {study.name}",
        HEAD,
        f"Digest of the study: `{study.digest()}`",
        in_plain_words(study),
        "## Who takes part",
        _sites(study),
        "## Clinical columns",
        _columns(study),
        "## Thresholds",
        thresholds(study.privacy),
        "## What a hospital sends, phase by phase",
        SIZES.format(frame=FRAME),
        _overview(study, phases, _measured(transfers)),
        *(block for phase in phases for block in _phase(phase)),
    )


def in_plain_words(study: Study) -> str:
    """The dossier's first page: the study in short, and what is not protected in it."""
    return document(
        "## In short",
        _in_short(study, plan(study)),
        "## What is not protected in this study",
        bullets(unprotected(study)),
    ).rstrip("\n")


def _in_short(study: Study, phases: Sequence[Phase]) -> str:
    most = max(sum(p.bytes_up(study, site) for p in phases) for site in study.site_names)
    models = ", ".join(f"`{name}` ({MODELS[name]})" for name in models_of(study))
    rows = study.fusion.pooling == "rows"
    return bullets(
        (
            f"Predicts: {study.endpoint}.",
            f"{len(study.sites)} hospitals, of which {len(study.training_sites)} train:"
            f" {', '.join(study.training_sites)}.",
            f"Models: {models}.",
            f"Data read: {_data(study)}.",
            f"Sums over training patients are {_masked(study.masked('train'))}.",
            f"Mode: {study.privacy.mode}. {_mode(study)}",
            f"Noise in the training of networks: {_noise(study)}.",
            "Rows of training patients: probabilities and outcomes leave, without identifiers."
            if rows
            else "Rows of training patients: none leave.",
            f"Rounds at most: {sum(phase.rounds for phase in phases):,}."
            f" Bytes that one hospital sends at most: {size(most)}.",
        )
    )


def _data(study: Study) -> str:
    clinical = f"{len(study.clinical)} clinical columns, as {clinical_width(study)} of the model"
    if not study.needs_images:
        return clinical
    features = f"{study.radiomics.expected_features:,} radiomics features"
    return f"{clinical}; CT images and contours; {features}"


def _masked(masked: bool) -> str:
    return "masked" if masked else "NOT masked"


def _noise(study: Study) -> str:
    private = study.differential_privacy
    if not private.on:
        return "none"
    return (
        f"{private.noise_multiplier:g} times the largest gradient of a patient; every hospital"
        " keeps account of what this comes to, in its ledger"
    )


def _mode(study: Study) -> str:
    if study.privacy.mode == "guarded":
        return (
            "Before any Gram matrix or covariance, radiomics and network features become normal"
            " scores, and clinical values are limited to"
            f" {study.selection.clip:g} standard deviations."
        )
    return "Values enter Gram matrices as they are."


def _sites(study: Study) -> str:
    rows = [
        [
            site.name,
            "yes" if site.trains else "no",
            ", ".join(t.name for t in study.test_sets if site.name in t.sites) or "none",
            _fingerprint(site),
        ]
        for site in study.sites
    ]
    return document(
        "Compare the fingerprint of each key with its hospital by phone.",
        table(["hospital", "trains", "test sets", "fingerprint of its key"], rows),
    ).rstrip("\n")


def _fingerprint(site: SiteEntry) -> str:
    if not site.public_key:
        return "no key in the study file"
    return f"`{identity.fingerprint(identity.public_key(site.public_key))}`"


def _columns(study: Study) -> str:
    if not study.clinical:
        return "None."
    rows = [
        [c.name, c.kind, ", ".join(c.levels) or c.unit or "number", str(len(model_columns(c)))]
        for c in study.clinical
    ]
    return table(["column", "kind", "levels or unit", "columns of the model"], rows)


# -- sizes --------------------------------------------------------------------------------------


def _measured(transfers: Iterable[Mapping[str, object]]) -> dict[str, tuple[int, int]]:
    """Rounds, and bytes up of the site that sent most, by phase."""
    rounds: dict[str, dict[str, int]] = {}
    sent: dict[str, dict[str, int]] = {}
    for row in transfers:
        phase, site = str(row["phase"]), str(row["site"])
        rounds.setdefault(phase, {})[str(row["exchange"])] = int(str(row["rounds"]))
        own = sent.setdefault(phase, {})
        own[site] = own.get(site, 0) + int(str(row["bytes_up"]))
    return {p: (sum(rounds[p].values()), max(sent[p].values())) for p in rounds}


def _overview(
    study: Study, phases: Sequence[Phase], measured: Mapping[str, tuple[int, int]]
) -> str:
    rows = []
    for phase in phases:
        most = max(phase.bytes_up(study, site) for site in study.site_names)
        each = sum(one.size for one in phase.asked if one.by_patient)
        bound = size(most) + (f" and {each} B a training patient" if each else "")
        row = [f"`{phase.name}`", f"{phase.rounds:,}", bound]
        if measured:
            rounds, sent = measured.get(phase.name, (0, 0))
            row += [f"{rounds:,}", size(sent)]
        rows.append(row)
    headings = ["phase", "rounds at most", "a hospital sends at most"]
    if measured:
        headings += ["rounds measured", "most that a hospital sent"]
    after = "" if measured else "What was really sent stands in `transfers.csv` after the run."
    return document(table(headings, rows), after).rstrip("\n")


def _phase(phase: Phase) -> tuple[str, ...]:
    rows = [
        [
            f"`{one.what}`" if one.exchange == "query.sum" else one.what,
            subsets,
            _columns_asked(one),
            "<br>".join(f"{part}: {own}" for part, own in one.parts.items()),
            f"{one.size} B a patient" if one.by_patient else size(one.size),
            f"{one.rounds:,}",
            "yes" if one.masked else "no",
        ]
        for one, subsets in _grouped(phase.asked)
    ]
    headings = ["answer", "patients", "columns", "numbers", "bytes", "rounds", "masked"]
    exchanges = ", ".join(f"`{name}`" for name in dict.fromkeys(a.exchange for a in phase.asked))
    if not rows:
        return ()
    return (
        f"### {phase.name}",
        f"{phase.purpose}. Messages: {exchanges}. Rounds at most: {phase.rounds:,}.",
        table(headings, rows),
    )


def _columns_asked(one: Asked) -> str:
    if not one.columns:
        return ""
    return f"{one.tables} x {one.columns:,}" if one.tables > 1 else f"{one.columns:,}"


def _grouped(asked: Iterable[Asked]) -> list[tuple[Asked, str]]:
    """Answers that differ in the set of patients alone, with all their sets."""
    found: dict[str, tuple[Asked, list[str]]] = {}
    for one in asked:
        _, subsets = found.setdefault(repr(replace(one, subset="")), (one, []))
        subsets.append("all hospitals' own" if one.subset == EVERYBODY else one.subset)
    return [(one, ", ".join(subsets)) for one, subsets in found.values()]
