"""What is not protected in one study, from its settings: said openly, nothing left to find out."""

from __future__ import annotations

from collections.abc import Iterator

from common.dossier.rules_section import weakened
from common.study.model import FEWEST_MASKED, Study

TRAINING = "the training patients"


def unprotected(study: Study) -> tuple[str, ...]:
    """One sentence or few each."""
    return (
        *_unmasked(study),
        *_left(study),
        *_rows(study),
        *_test_sets(study),
        *_settings(study),
        *_keys(study),
        *_always(study),
    )


def name_of(subset: str) -> str:
    """A set of patients in words."""
    return TRAINING if subset == "train" else f"`{subset}`"


def _unmasked(study: Study) -> Iterator[str]:
    if study.privacy.masking == "off":
        yield (
            "**Masking is off.** The coordinator can read the sums and network weights of every"
            " single hospital."
        )
        return
    for subset in ("train", *(test.name for test in study.test_sets)):
        members = study.members(subset)
        if study.masked(subset) or (subset != "train" and len(members) == 1):
            continue
        yield (
            f"**Sums over {name_of(subset)} are not masked.** Masking takes {FEWEST_MASKED}"
            f" hospitals, and only {' and '.join(members)} have such patients. The coordinator can"
            " read what each sends."
            + (
                ' With `masking = "required"` hospitals refuse, and the study does not run.'
                if study.privacy.masking == "required"
                else ""
            )
        )


def _left(study: Study) -> Iterator[str]:
    for site in dict.fromkeys(statement.site for statement in study.left):
        yield (
            f"**{site} left for good.** It has signed that its own sums may be found: by taking the"
            " sums of this study off those that were given together with it before. No mask hides"
            " them then."
        )


def _rows(study: Study) -> Iterator[str]:
    if study.fusion.pooling == "rows":
        yield (
            "**Rows leave.** For every training patient the coordinator gets the out-of-fold"
            " probabilities and the outcome, without identifiers, in random order, to three"
            " decimals. It knows the hospital of a row. Somebody who knows a patient's"
            " probabilities could find the row and read the outcome."
            ' `fusion.pooling = "bins"` does without rows.'
        )
    else:
        yield (
            "**Counts of many decision trees.** No row leaves, but the combination model is grown"
            " from very many pooled counts. Taken together they could single out patients of the"
            " pooled training set; depth and intervals are limited for this reason."
        )


def _test_sets(study: Study) -> Iterator[str]:
    minimum = study.privacy.min_cell
    alone = [t.name for t in study.test_sets if len(study.members(t.name)) == 1]
    spread = [t.name for t in study.test_sets if len(study.members(t.name)) > 1]
    for subset in alone:
        (site,) = study.members(subset)
        yield (
            f"**`{subset}` lies at one hospital.** Its tables and measures are those of {site}"
            f" alone and go in the clear. Cells of tables and of score histograms below {minimum}"
            " are withheld or joined first; confusion counts, calibration and decision curves are"
            " exact."
        )
    if spread:
        yield (
            f"**Small cells of pooled scores.** Histograms of scores over {_listed(spread)} may"
            " hold a single patient of all hospitals. The coordinator sees these cells; they are"
            " joined before hospitals or the report see them. The areas under the curve of each"
            " hospital's own patients go in the clear."
        )
    yield (
        "**Numbers of patients.** How many patients, and how many with the endpoint, each hospital"
        " has in each set is told to the coordinator, also where they are few."
    )


def _settings(study: Study) -> Iterator[str]:
    if study.privacy.mode == "faithful":
        yield (
            '**Values enter Gram matrices as they are** (`mode = "faithful"`). A search by'
            " computer may recover many of the patients from the pooled matrices; see the attacks"
            " in the general dossier. It takes the word of every training hospital in its own"
            " file."
        )
    weaker = weakened(study.privacy)
    if weaker:
        yield f"**Weaker thresholds than the release's:** {', '.join(weaker)}."


def _keys(study: Study) -> Iterator[str]:
    without = [site.name for site in study.sites if not site.public_key]
    if without:
        yield (
            f"**No identity key** is named for {', '.join(without)}. Without keys, nobody can check"
            " that these hospitals are who they say."
        )
    if not study.coordinator_key:
        yield (
            "**No key of the coordinator** is named. Hospitals cannot check that a model comes from"
            " it unchanged."
        )


def _always(study: Study) -> Iterator[str]:
    training = len(study.training_sites)
    yield (
        "**The final models and the results are known to all hospitals.** From a model one may be"
        " able to tell whether a known person was in the training data (membership inference), or"
        " to guess a value of a known person (attribute inference)."
        + (
            " Noise in the training of the networks limits what their weights tell; there is none"
            " in the other models."
            if study.differential_privacy.on
            else " No noise is added against this."
        )
    )
    yield (
        "**Totals are told to hospitals** where a later question needs them: means, deviations,"
        " counts in intervals, and network weights after every round."
    )
    if study.masked("train"):
        yield (
            f"**Collusion.** Of {training} training hospitals, if the coordinator works together"
            f" with {training - 1}, it knows the sums of the last one; with {training - 2}, the sum"
            " of the two others. It is trusted not to."
        )
    yield (
        "**Questions made to harm.** The coordinator chooses the questions. They must have the form"
        " of the study's models; whether their numbers were fitted or made up no hospital can see."
        " With numbers that are made up an answer can single out a patient."
    )
    yield "**False answers.** A hospital that sends wrong numbers is not found out by this system."


def _listed(subsets: list[str]) -> str:
    return ", ".join(name_of(subset) for subset in subsets)
