"""The dossier of one study: sites, questions with their sizes, and what is not protected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from common.disclosure.rule import RULES
from common.dossier.disclosure import EVERYBODY, FRAME, Disclosure, Phase
from common.dossier.general import plain_words, tests_section, with_numbers
from common.dossier.markdown import bullets, document, size, table
from common.dossier.measured import Figures, measured
from common.masking import identity
from common.masking.absence import AbsentSite
from common.masking.lost_keys import LetGoSite
from common.masking.neighbours import mask_colluders_stood
from common.models import MODELS, NetworkName
from common.study.model import (
    FEWEST_MASKED,
    ClinicalColumn,
    PrivacySettings,
    SiteEntry,
    Study,
)

HEAD = """\
For the privacy officer of a hospital of this study: two pages, then an annex, made from the study
file by the program that runs the study. A number in brackets is a test in the annex's list that
shows the sentence; `[open]` marks a sentence that no test shows. What messages, statistics and
rules are, and what somebody could do with them, stands in the general dossier
(`docs/privacy-dossier.md`)."""
SIZES = """\
Shapes and bytes are upper bounds, known before anything is asked. Features that repeat each other
are dropped on the way, so the sums after that step are usually much smaller. *Bytes* are what one
hospital sends in one round, *rounds* how often at most. *Columns* are those of one table; "6 x"
means that six tables are asked about in one round. The sums in the first table count a frame of
{frame} bytes a message."""
THRESHOLDS = """\
A hospital refuses below these thresholds (`max_...`: above them). Its own file can only make them
stricter."""
TRAINING = "the training patients"
_HERE = "[annex](#attacks-that-were-tried)"
_IN_THE_GENERAL_DOSSIER = "general dossier"


def study_dossier(
    study: Study,
    phases: Sequence[Phase],
    transfers: Iterable[Mapping[str, object]] = (),
    figures: Figures | None = None,
) -> str:
    """Write the dossier as Markdown.

    Parameters
    ----------
    phases : all that each phase of the study declares to ask for.
    transfers : rows of transfers.csv of the federated run, when it is over.
    figures : its results.json, of which the privacy audit is shown.
    """
    return document(
        f"# Privacy dossier of the study {study.name}",
        HEAD,
        f"Digest of the study: `{study.digest()}`",
        in_plain_words(study, phases, figures),
        "# Annex",
        tests_section(),
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


def in_plain_words(study: Study, phases: Sequence[Phase], figures: Figures | None = None) -> str:
    """Write the two pages that a privacy officer reads to the end."""
    shared = plain_words()
    return with_numbers(
        document(
            "## In short",
            _in_short(study, phases),
            shared["Who sees what"],
            shared["What protects it"],
            "## What is not protected in this study",
            bullets(unprotected(study)),
            shared["What was measured"].replace(_HERE, _IN_THE_GENERAL_DOSSIER),
            measured(figures or {}),
        )
    ).rstrip("\n")


def _in_short(study: Study, phases: Sequence[Phase]) -> str:
    most = max(sum(p.bytes_up(study, site) for p in phases) for site in study.site_names)
    models = ", ".join(
        f"`{name}` ({MODELS[name].short})" for name in (*study.base_models, *study.fusion_models)
    )
    return bullets(
        (
            f"Predicts: {study.endpoint} [@study_file].",
            f"{len(study.sites)} hospitals, of which {len(study.training_sites)} train:"
            f" {', '.join(study.training_sites)} [@study_file].",
            f"Models: {models} [@study_file].",
            f"Data read: {_data(study)} [@study_file].",
            _derived(study),
            f"Sums over training patients are {_masked(study.masked('train'))} [@study_masks].",
            f"Mode {study.privacy.mode}: {_mode(study)}",
            *_harmonised(study),
            *(_network(study, name) for name in study.networks),
            f"Noise in the training of networks: {_noise(study)}.",
            _rows_in_short(study),
            f"At most {sum(phase.rounds for phase in phases):,} rounds, and {size(most)} that one"
            " hospital sends [@bounds].",
        )
    )


def _derived(study: Study) -> str:
    if study.derivable:
        return (
            "Questions are derived: each hospital answers only what its own run of the study asks,"
            " unless it sets `verify = false` [@every_question]."
        )
    return (
        "Questions are NOT derived, since that takes masked sums over"
        f" {FEWEST_MASKED} training hospitals: the first line below is missing [@study_derived]."
    )


def _rows_in_short(study: Study) -> str:
    if study.fusion.pooling != "rows":
        return "Rows of training patients: none leave [@bounds]."
    without = "identifiers and hospital" if study.masked("train") else "identifiers"
    return (
        "Rows of training patients: probabilities and outcomes leave, without"
        f" {without} [@{'places' if study.masked('train') else 'open_rows'}]."
    )


def _data(study: Study) -> str:
    clinical = (
        f"{len(study.clinical)} clinical columns, as {len(study.clinical_columns)} of the model"
    )
    if not study.needs_images:
        return clinical
    features = f"{study.radiomics.expected_features:,} radiomics features"
    return f"{clinical}; CT images and contours; {features}"


def _masked(masked: bool) -> str:
    return "masked" if masked else "NOT masked"


def _network(study: Study, name: NetworkName) -> str:
    own = study.network(name)
    unusual = ", WIDER THAN IN ANY RELEASED PRESET" if own.wide else ""
    return (
        f"Network `{name}`: first layer {own.stem_kernel} voxels wide, stages of"
        f" {', '.join(map(str, own.widths))} channels{unusual} [@wide]."
    )


def _noise(study: Study) -> str:
    private = study.differential_privacy
    if not private.on:
        return "none [@epsilon_covers]"
    return (
        f"{private.noise_multiplier:g} times the largest gradient of a patient; every hospital"
        " keeps account of what this comes to, in its ledger [@epsilon_covers]"
    )


def _harmonised(study: Study) -> Iterator[str]:
    """Say that features are harmonised, and what of a hospital that takes; nothing where not."""
    settings = study.harmonisation
    if not settings.tables:
        return
    names = {"radiomics": "radiomics", "deep": "network"}
    which = " and ".join(names[table] for table in settings.tables)
    own = "scanners" if settings.batch == "scanner" else "patients as a whole"
    yield (
        f"The {which} features are harmonised over {settings.batch}s: what a hospital's own {own}"
        " have of level and spread is used there and never leaves it [@harmonised]."
    )


def _mode(study: Study) -> str:
    if study.privacy.mode == "guarded":
        return (
            "before any Gram matrix or covariance, radiomics and network features become normal"
            " scores, and clinical values are limited to"
            f" {study.selection.clip:g} standard deviations [@guarded]."
        )
    return "values enter Gram matrices as they are [@plain_values]."


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
    text = "None."
    if study.clinical:
        rows = [
            [c.name, c.kind, ", ".join(c.levels) or c.unit or "number", str(_width(c))]
            for c in study.clinical
        ]
        text = table(["column", "kind", "levels or unit", "columns of the model"], rows)
    return document(text, *_times(study)).rstrip("\n")


def _times(study: Study) -> Iterator[str]:
    """Say what becomes of the times to the endpoint."""
    grid = study.follow_up
    if grid is not None:
        ends = ", ".join(f"{end:g}" for end in grid.ends)
        yield (
            f"The column {grid.column} has the time to the endpoint, in {grid.unit}. The hospital"
            f" puts it on periods that end at {ends} before anything is computed: no time leaves"
            " it, and no sum knows more of a time than its period."
        )


def _width(column: ClinicalColumn) -> int:
    """Count the columns of the clinical table that a clinical column becomes."""
    return 1 if column.kind in ("continuous", "ordinal") else len(column.levels) - 1


# -- sizes --------------------------------------------------------------------------------------


def _measured(transfers: Iterable[Mapping[str, object]]) -> dict[str, tuple[int, int]]:
    """Return rounds, and bytes up of the site that sent most, by phase."""
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
        bound = size(most) + (f" and {each} B a training patient of all hospitals" if each else "")
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


def _columns_asked(one: Disclosure) -> str:
    if not one.columns:
        return ""
    return f"{one.tables} x {one.columns:,}" if one.tables > 1 else f"{one.columns:,}"


def _grouped(asked: Iterable[Disclosure]) -> list[tuple[Disclosure, str]]:
    """Group answers that differ in the set of patients alone, with all their sets."""
    found: dict[str, tuple[Disclosure, list[str]]] = {}
    for one in asked:
        _, subsets = found.setdefault(repr(replace(one, subset="")), (one, []))
        subsets.append("all hospitals' own" if one.subset == EVERYBODY else one.subset)
    return [(one, ", ".join(subsets)) for one, subsets in found.values()]


# -- thresholds ------------------------------------------------------------------------------------


def thresholds(privacy: PrivacySettings) -> str:
    """List the thresholds of one study beside those of the release."""
    defaults = PrivacySettings()
    rows = []
    for name in PrivacySettings.model_fields:
        own, release = getattr(privacy, name), getattr(defaults, name)
        guards = _guards(name)
        rows.append([f"`{name}`", str(own), str(release), guards])
    return document(
        THRESHOLDS,
        table(["setting", "this study", "release", "protects"], rows),
    ).rstrip("\n")


def weakened(privacy: PrivacySettings) -> tuple[str, ...]:
    """List thresholds weaker than the release's, as "min_rows 5 (release 10)"."""
    defaults = PrivacySettings()
    found = []
    for name in PrivacySettings.model_fields:
        own, release = getattr(privacy, name), getattr(defaults, name)
        if isinstance(own, str):
            continue
        if own > release if name.startswith("max_") else own < release:
            found.append(f"`{name}` {own} (release {release})")
    return tuple(found)


def _guards(setting: str) -> str:
    """Say what a setting protects, from the rules that use it."""
    if setting == "mode":
        return "patients with extreme values"
    if setting in ("masking", "mask_neighbours"):
        return "what one hospital contributes to a sum"
    return "; ".join(dict.fromkeys(r.protects for r in RULES.values() if r.setting == setting))


# -- what is not protected -------------------------------------------------------------------------


def unprotected(study: Study) -> tuple[str, ...]:
    """Say openly what is not protected in a study, a few sentences each."""
    return (
        *_unmasked(study),
        *_questions(study),
        *_left(study),
        *_rows(study),
        *_test_sets(study),
        *_settings(study),
        *_keys(study),
        *_always(study),
    )


def name_of(subset: str) -> str:
    """Put a set of patients into words."""
    return TRAINING if subset == "train" else f"`{subset}`"


def _unmasked(study: Study) -> Iterator[str]:
    if study.privacy.masking == "off":
        yield (
            "**Masking is off.** The coordinator can read the sums and network weights of every"
            " single hospital [@unmasked]."
        )
        return
    for subset in ("train", *(test.name for test in study.test_sets)):
        members = study.members(subset)
        if study.masked(subset) or (subset != "train" and len(members) == 1):
            continue
        yield (
            f"**Sums over {name_of(subset)} are not masked.** Masking takes {FEWEST_MASKED}"
            f" hospitals, and only {' and '.join(members)} have such patients: the coordinator can"
            " read what each sends [@two_allowed]."
            + (
                ' With `masking = "required"` hospitals refuse, and the study does not run'
                " [@two_refused]."
                if study.privacy.masking == "required"
                else ""
            )
        )


def _neighbours(training: int, degree: int) -> str:
    stood = mask_colluders_stood(training, degree)
    if stood == training - 2:
        return ""
    return (
        f" Every hospital shares masks with {degree} others: if all of these work together with the"
        f" coordinator, it knows that hospital's sums; with {stood}, it learns nothing but the sum"
        " of all others [@neighbours]."
    )


def _questions(study: Study) -> Iterator[str]:
    """Say which line holds against whom."""
    training = len(study.training_sites)
    if not study.derivable:
        yield (
            "**Questions made to harm.** No hospital derives the questions: the coordinator may"
            " make up their numbers, and rules and limits alone hold [@not_derived]. An answer to"
            " such numbers can single out a patient [@open]."
        )
        return
    stacker = "; the stacker is derived nowhere" if study.fusion.pooling == "rows" else ""
    yield (
        "**Collusion.** With one hospital on its side the coordinator can make up totals and"
        " questions: rules and limits then hold alone, as they do at a hospital that sets"
        f" `verify = false`{stacker} [@not_derived @aimed]. Made-up questions that have the"
        f" right form can single out patients [@open]. Of {training} training hospitals, if the"
        f" coordinator works together with {training - 1}, it knows the sums of the last one; with"
        f" {training - 2}, the sum of the two others [@two_allowed]."
        + _neighbours(training, study.privacy.mask_neighbours)
    )


def _left(study: Study) -> Iterator[str]:
    away = {one.site: one.days for one in study.left if isinstance(one, AbsentSite)}
    lost = {one.site for one in study.left if isinstance(one, LetGoSite)}
    for site in dict.fromkeys(statement.site for statement in study.left):
        how = "It has signed that"
        if site in lost:
            how = "It lost its keys, and has signed with a new one that others confirmed that"
        if site in away:
            how = f"It had signed that, once it gave no sum for more than {away[site]} days,"
        yield (
            f"**{site} left for good.** {how} its own sums may be found: by taking the"
            " sums of this study off those that were given together with it before [@site_left]."
        )


def _rows(study: Study) -> Iterator[str]:
    if study.fusion.pooling != "rows":
        yield (
            "**Counts of many decision trees.** No row leaves, but very many pooled counts could"
            " together single out patients of the pooled training set; depth and intervals are"
            " limited for this reason [@open]."
        )
        return
    seen = (
        "They come as one masked sum without the hospital, unless a hospital helps the coordinator"
        " or most rows are of one [@places @known_places]."
        if study.masked("train")
        else "It can see which hospital a row is from, since sums are not masked [@open_rows]."
    )
    yield (
        "**Rows leave.** For every training patient the coordinator gets the out-of-fold"
        f" probabilities to {_decimals(study)} and the outcome [@all_rows]. {seen}"
        " Somebody who knows a patient's values could find the row and read the outcome;"
        f" `max_unique_rows` {study.privacy.max_unique_rows:g} is the share of a hospital for whom"
        ' this may work [@unique_rows]. `fusion.pooling = "bins"` does without rows [@bounds].'
    )


def _decimals(study: Study) -> str:
    count = study.fusion.row_decimals
    return f"{count} decimal{'s' if count > 1 else ''}"


def _test_sets(study: Study) -> Iterator[str]:
    minimum = study.privacy.min_cell
    alone = [t.name for t in study.test_sets if len(study.members(t.name)) == 1]
    spread = [t.name for t in study.test_sets if len(study.members(t.name)) > 1]
    for subset in alone:
        (site,) = study.members(subset)
        yield (
            f"**`{subset}` lies at one hospital.** Its tables and measures are those of {site}"
            f" alone, in the clear: cells below {minimum} are withheld or joined, and all measures"
            " follow from cells of joined patients [@alone @protected_table @joined_scores]."
        )
    if spread:
        yield (
            f"**Small cells of pooled scores.** Histograms of scores over {_listed(spread)} may"
            " hold a single patient of all hospitals, before the coordinator joins small cells"
            " [@small_parts]. The areas under the curve of each hospital's own patients go in the"
            " clear [@own_measures]."
        )


def _settings(study: Study) -> Iterator[str]:
    if study.privacy.mode == "faithful":
        yield (
            '**Values enter Gram matrices as they are** (`mode = "faithful"`): a search by'
            " computer may recover many of the patients from the pooled matrices [@plain_values]."
        )
    wide = [f"`{name}`" for name in study.networks if study.network(name).wide]
    if wide:
        yield (
            f"**Unusually wide networks:** {', '.join(wide)}: the more numbers a layer has, the"
            " more of single images the summed change of its weights can hold [@wide]."
        )
    weaker = weakened(study.privacy)
    if weaker:
        yield (f"**Weaker thresholds than the release's:** {', '.join(weaker)} [@study_settings].")


def _keys(study: Study) -> Iterator[str]:
    without = [site.name for site in study.sites if not site.public_key]
    if without:
        yield (
            f"**No identity key** is named for {', '.join(without)}: nobody can check that these"
            " hospitals are who they say [@study_file]."
        )
    if not study.coordinator_key:
        yield (
            "**No key of the coordinator** is named: hospitals cannot check that a model comes from"
            " it unchanged [@signed_models]."
        )


def _always(study: Study) -> Iterator[str]:
    noisy = study.differential_privacy.on
    yield (
        "**The final models and the results are known to all hospitals.** From a model one may be"
        " able to tell whether a known person was in the training data (membership inference), or"
        " to guess a value of a known person (attribute inference) [@open]."
        + (
            " Noise limits what the weights of networks tell; epsilon covers these alone, not sums"
            " and out-of-fold rows, and no hospital's max_epsilon counts others"
            " [@epsilon_covers @max_epsilon]."
            if noisy
            else " No noise is added against this [@epsilon_covers]."
        )
    )
    yield (
        "**False answers.** A hospital that lies about its own patients is noticed only where a"
        " total cannot be true, or the weights become far worse [@false_total @objection]. Under"
        " masks nobody can prove which hospital it was [@false_within]."
    )


def _listed(subsets: list[str]) -> str:
    return ", ".join(name_of(subset) for subset in subsets)
