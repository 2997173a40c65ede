"""Sentences about a run that answer items of reporting guidelines."""

from __future__ import annotations

from collections.abc import Iterator

from common.models import MODELS
from server.report import words
from server.report.appendix import left
from server.report.comparisons import primary_row, primary_sentence
from server.report.heterogeneity import heterogeneity_rows
from server.report.measures import measures_of
from server.report.patients import set_total
from server.report.performance_records import Performance
from server.report.reading import headline_model, main_run, models, set_label, sets, test_sets
from server.report.schema import RecordedColumn, RecordedSettings, Results

ROUTES = {
    "inprocess": "simulated in one process on one machine",
    "flower": "simulated on one machine by Flower's simulation engine",
    "deployment": "each at its own node, reached over the network",
}


def kind_of_study(results: Results) -> str:
    """Say that models are developed and evaluated, for which outcome."""
    tests = words.count_word(len(test_sets(results)), "test set")
    return (
        f"Development of {words.count_word(len(models(results)), 'multivariable model')}"
        f" ({_labels(results)}) for {results.study.endpoint}, and evaluation on {tests}."
    )


def technique(results: Results) -> str:
    """Name the category of technique."""
    deep = any(MODELS[name].network for name in models(results) if name in MODELS)
    kinds = ["deep learning (residual networks)"] if deep else []
    return f"Machine learning{', ' + words.join(kinds) if kinds else ''}, trained federatedly."


def hospitals(results: Results) -> str:
    """Count the hospitals and name those that train and those that test."""
    trains = [site.name for site in results.study.sites if site.trains]
    tests = [f"{set_label(t.name)}: {words.join(list(t.sites))}" for t in results.study.test_sets]
    return (
        f"{words.count_word(len(results.study.sites), 'hospital').capitalize()}, "
        f"{ROUTES.get(results.run.engine, results.run.engine)}. Training: {words.join(trains)}."
        f" {'; '.join(tests)}{'.' if tests else ''}"
    )


def synthetic(results: Results) -> str:
    """Warn where the patients are made up."""
    return "THE PATIENTS ARE SYNTHETIC." if results.ceiling else ""


def exclusions(results: Results) -> str:
    """Count the patients that hospitals left out."""
    if not results.participants:
        return ""
    left = sum(one.excluded for one in results.participants)
    return f"Left out for data that cannot be used: {words.count_word(left, 'patient')}."


def preparation(results: Results) -> str:
    """Describe the preparation of images."""
    settings = results.settings
    if settings is None:
        return ""
    text = "Every hospital checks its rows, files and headers by the same program beforehand"
    text += ", and prepares its data by the same settings."
    if with_images(results):
        image = settings.imaging
        text += (
            f" Images are clipped to {image['window']:g} HU around {image['level']:g} and"
            f" resampled to {image['spacing_mm']:g} mm; crops follow the contour."
        )
    return text


def predictors(results: Results) -> str:
    """List the candidate predictors."""
    settings = results.settings
    if settings is None:
        return ""
    found = []
    if "clinical" in settings.base_models and settings.clinical:
        names = [words.humanise(column.name) for column in settings.clinical]
        found.append(f"{words.count_word(len(names), 'clinical predictor')} ({words.join(names)})")
    if "radiomics" in settings.base_models:
        found.append(f"{settings.radiomics['expected_features']} radiomics features")
    found += [MODELS[name].looks_at for name in settings.base_models if _network(name)]
    return f"Candidates: {words.join(found)}." if found else ""


def endpoint(results: Results) -> str:
    """Name the outcome that is predicted."""
    when = " as a time, with censoring" if results.follow_up else ", present or absent"
    return f"Outcome: {results.study.endpoint}{when}, as each hospital's list of patients gives it."


def definitions(results: Results) -> str:
    """Define the clinical predictors as the study declares them."""
    settings = results.settings
    if settings is None or "clinical" not in settings.base_models:
        return ""
    found = [
        f"{words.humanise(one.name)} ({_values(one)})" for one in settings.clinical if one.kind
    ]
    return f"Clinical predictors: {'; '.join(found)}." if found else ""


def _values(column: RecordedColumn) -> str:
    if column.kind == "continuous":
        return column.unit or "a number"
    between = " < " if column.kind == "ordinal" else ", "
    return between.join(column.levels)


def repeatability(results: Results) -> str:
    """Say how far features had to agree between readings, and on how many patients."""
    selections = results.selection.get(main_run(results), {})
    notes = [note for one in selections.values() for note in one.notes if note.startswith("ICC")]
    if not notes or results.settings is None:
        return ""
    least = results.settings.selection.get("icc_threshold")
    text = f"Radiomics features below an ICC of {least} were left out: " if least else ""
    return f"{text}{words.join(list(dict.fromkeys(notes)))}."


def slices(results: Results) -> str:
    """Count the axial slices of each set."""
    found = [f"{set_label(one.set)} {one.slices}" for one in results.slices if one.slices]
    return f"Axial slices: {', '.join(found)}." if found else ""


def input_quality(results: Results) -> str:
    """Say what the program does about poor or missing input."""
    text = "fedlnm-site predict fills single clinical values that are missing as in the training,"
    text += " says so, and marks values outside the training range"
    if with_images(results):
        text += (
            "; it refuses an image or contour that is missing or on another grid, and without an"
            " image uses the clinical model alone"
        )
    return f"{text}."


def calibration(results: Results) -> str:
    """State slope and observed over expected numbers of the headline model on each test set."""
    model, run = headline_model(results), main_run(results)
    found = [
        f"{set_label(one.set)}: slope {words.number(one.slope, 2)} (95% CI"
        f" {words.signed_interval(one.slope_low, one.slope_high)}), observed to expected"
        f" {words.number(one.oe, 2)}"
        for one in results.calibration_fits
        if (one.run, one.model) == (run, model) and one.set in test_sets(results)
        if not one.site and not one.variable and one.slope is not None
    ]
    return f"Calibration. {'; '.join(found)}." if found else ""


def diagnostic(results: Results) -> str:
    """State sensitivity and specificity of the headline model at its cut-off on each test set."""
    model = headline_model(results)
    found = []
    for name in test_sets(results):
        for row in _rows(results, name):
            known = measures_of(row) if row.model == model else None
            if known is not None:
                both = (("sensitivity", known.sensitivity), ("specificity", known.specificity))
                shares = [
                    f"{what} {100 * one.value:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})"
                    for what, one in both
                ]
                found.append(f"{set_label(name)}: {', '.join(shares)}")
    return f"At the cut-off, with 95% CI. {'; '.join(found)}." if found else ""


def selection(results: Results) -> str:
    """Say which steps chose predictors, and how many are left."""
    selections = results.selection.get(main_run(results), {})
    parts = []
    for model, chosen in selections.items():
        steps = [
            f"{words.lowered(label)} {size}"
            for step, label in words.STEP_LABELS.items()
            if (size := left(chosen, step))
        ]
        if steps:
            parts.append(f"{words.model_label(model)}: {', '.join(steps)}")
    if not parts:
        return ""
    return f"Features after each step, fitted on training patients only. {'; '.join(parts)}."


def missing_data(results: Results) -> str:
    """Say how missing values are filled."""
    if not any(name == "clinical" for name in models(results)):
        return ""
    return (
        "Missing clinical values are replaced once, from the training patients of all hospitals"
        " and without their outcomes: numbers and ordered levels by their mean, other levels by the"
        " most frequent one. Numbers missing by variable and set are in Table 1."
    )


def partition(results: Results) -> str:
    """Say how patients were divided, and at which level parts are disjoint."""
    folds = results.settings.folds if results.settings else None
    text = "Patients are divided by hospital and by the split that each hospital declares. A"
    text += " hospital lists each of its patients once, in one set; one who was treated at two"
    text += " hospitals cannot be recognised."
    if folds:
        text += f" Training patients form {words.count_in_words(folds)} folds, stratified by"
        text += " outcome and rare levels; every training figure is of patients that the model was"
        text += " not fitted on."
    return text


def handling(results: Results) -> str:
    """Say how predictors enter."""
    if results.settings is None:
        return ""
    clip = results.settings.selection.get("clip")
    guarded = results.settings.privacy.get("mode") == "guarded"
    text = "Numbers enter linearly as z-scores"
    text += f" limited to {words.compact(float(str(clip)))} SD" if guarded and clip else ""
    text += ", ordered levels as 0, 1, 2, ..., other levels as indicators against the first."
    if guarded and (with_images(results)):
        text += " Radiomics and network features enter as normal scores of their ranks."
    return text


def building(results: Results) -> str:
    """Name each model's kind, tuning and validation, with all remarks on them."""
    remarks = results.settings.remarks if results.settings else ()
    return " ".join([building_in_short(results), *remarks]).strip()


def building_in_short(results: Results) -> str:
    """Name each model's kind, tuning and validation."""
    settings = results.settings
    if settings is None:
        return ""
    parts = [*_linear_models(settings), *_networks(settings), *_fusion(results, settings)]
    validation = f"Internal validation: {settings.folds}-fold cross-validation, nested."
    return " ".join([*parts, validation])


def _linear_models(settings: RecordedSettings) -> Iterator[str]:
    names: list[str] = [n for n in ("clinical", "radiomics") if n in settings.base_models]
    if settings.selection.get("networks") == "use":
        names += [n for n in settings.base_models if _network(n)]
    names += [n for n in settings.fusion_models if n == "fusion_feature"]
    if names:
        labels = words.join([words.lowered(MODELS[name].label) for name in names])
        model = f"a {settings.svm.get('kernel')} support vector machine"
        rest = "whose cost is chosen by cross-validation, and Platt's scaling"
        if settings.follow_up:
            model = "a Cox model with a ridge penalty, stratified by hospital,"
            rest = "whose penalty is chosen by cross-validation, and Breslow's baseline hazard"
        yield (
            f"{labels.capitalize()}: features chosen by LASSO (rank correlation and ICC filters"
            f" before it where there are many), then {model} {rest}."
        )


def _networks(settings: RecordedSettings) -> Iterator[str]:
    for name in settings.base_models:
        if _network(name):
            block = getattr(settings, name, None) or settings.model_options.get(name, {})
            start = str(block.get("pretrained") or "random weights")
            if settings.follow_up:
                start += ", with an output for the hazard in each period (discrete time)"
            loss = "likelihood of discrete hazards" if settings.follow_up else "cross-entropy"
            more = "flips and random parts of the crops" if block.get("augment") else "none"
            yield (
                f"{MODELS[name].label}: residual network with {block.get('layers')} blocks, from"
                f" {start}; loss: {loss}; augmentation: {more}; {block.get('optimiser')} at"
                f" {block.get('learning_rate')}, batches of"
                f" {block.get('batch_size')}, at most {block.get('rounds')} rounds of"
                f" {block.get('strategy')}."
            )


def _fusion(results: Results, settings: RecordedSettings) -> Iterator[str]:
    used = results.fusion.get(main_run(results))
    if used is not None and "fusion_decision" in settings.fusion_models:
        label = words.STACKER_LABELS.get(used.used, used.used).lower()
        what = "hazards" if results.follow_up else "probabilities"
        yield f"Decision fusion: {label} on the out-of-fold {what} of the base models."


def initialisation(results: Results) -> str:
    """Say what networks start from."""
    settings = results.settings
    names = [n for n in settings.base_models if _network(n)] if settings else []
    found = []
    for name in names:
        block = getattr(settings, name, None) or {}
        found.append(f"{MODELS[name].label}: {block.get('pretrained') or 'random weights'}")
    return f"{'; '.join(found)}." if found else ""


def software(results: Results) -> str:
    """List versions."""
    found = [f"{name} {version}" for name, version in results.software.items()]
    return f"Software: {', '.join(found)}." if found else ""


def clusters(results: Results) -> str:
    """Say how differences between hospitals are measured."""
    if not results.site_performance:
        return "No test set is spread over hospitals large enough to be evaluated one by one."
    return (
        "AUC by hospital, summarised by a random-effects model on the logit (Paule-Mandel,"
        " Hartung-Knapp) with tau, I2 and, from four hospitals on, a prediction interval."
    )


def measures(results: Results) -> str:
    """Name every measure."""
    if results.follow_up:
        return (
            "Discrimination: concordance (Harrell, Uno) with the infinitesimal jackknife, on the"
            " logit, and"
            " cumulative, dynamic areas at each horizon, weighted for censoring. Groups of low and"
            " high risk: life tables and log-rank tests, over all patients and within"
            " hospitals. Calibration: predicted against observed risk (Kaplan-Meier) by the first"
            " horizon, of all patients and in five groups of rising risk."
        )
    primary = primary_row(results)
    one = len(models(results)) == 1
    declared = "One model, compared with no other" if one else "No primary comparison was declared"
    if primary is not None:
        pair = [words.lowered(MODELS[name].label) for name in (primary.model_a, primary.model_b)]
        declared = f"Primary comparison, declared in the study: {' against '.join(pair)} on the"
        declared += f" {set_label(primary.set).lower()}"
    return (
        "Discrimination: AUC with a 95 % score interval (DeLong's variance, carried to the limits);"
        " models are compared by DeLong's test; average"
        f" precision beside it. {declared}; all other comparisons are exploratory, with P values"
        " corrected by Holm beside the raw ones. Calibration: slope,"
        " intercept, ratio of observed to expected numbers, flexible curve and Brier score."
        " Clinical utility: decision curve with its interval. At the cut-off: accuracy,"
        " sensitivity, specificity, predictive values (Wilson) and likelihood ratios (log method),"
        " all with 95 % intervals."
    )


def cutoff(results: Results) -> str:
    """Name output and cut-offs."""
    found = [
        f"{MODELS[row.model].label} {row.cutoff:.3g}"
        for row in _rows(results, "train")
        if row.cutoff is not None
    ]
    text = "Output: a probability of the outcome. Cut-offs maximise Youden's index on out-of-fold"
    text += " training probabilities"
    if results.follow_up:
        text = "Output: the risk of the event by the first horizon. Cut-offs between groups of low"
        text += " and high risk are the medians of out-of-fold training risks"
    text += ", and were fixed before any test set was seen"
    return f"{text}: {', '.join(found)}." if found else f"{text}."


def imbalance(results: Results) -> str:
    """Say what was done about unequal classes."""
    settings = results.settings
    if settings is None:
        return ""
    weighted = [
        MODELS[name].label
        for name in settings.base_models
        if _network(name) and len(set(_weights(settings, name))) > 1
    ]
    if weighted:
        return f"Classes are weighted in the loss of {words.join(weighted)}, as the settings say."
    return "No method for class imbalance was used."


def _weights(settings: RecordedSettings, name: str) -> tuple[object, ...]:
    found = (getattr(settings, name, None) or {}).get("class_weights", ())
    return found if isinstance(found, tuple) else ()


def differences(results: Results) -> str:
    """Point to the table that compares the sets."""
    return "Table 1 compares the sets, with tests." if results.table1 else ""


def flow(results: Results) -> str:
    """Count patients with and without the outcome by set."""
    found = []
    for name in sets(results):
        total = set_total(results, name)
        if total.n is None:
            found.append(f"{set_label(name)}: withheld")
        elif total.positives is None:
            found.append(f"{set_label(name)}: {total.n}, outcome withheld")
        else:
            found.append(
                f"{set_label(name)}: {total.n} patients, {total.positives} with the outcome,"
                f" {total.n - total.positives} without"
            )
    return f"{'; '.join(found)}." if found else ""


def characteristics(results: Results) -> str:
    """Say where the characteristics are."""
    variables = {row.variable for row in results.table1}
    if not variables:
        return ""
    return (
        f"Table 1 has {words.count_word(len(variables), 'variable')} by set, with missing values."
    )


def specification(results: Results) -> str:
    """Say where the whole model is."""
    last = "the baseline hazard" if results.follow_up else "Platt's numbers"
    return (
        "The folder bundle/ holds every model, signed; fedlnm-site predict applies it. Means,"
        f" SDs, coefficients, intercepts and {last} are in the tables of the full model."
    )


def performance(results: Results) -> str:
    """State the AUC of the headline model with its interval on each set."""
    model = headline_model(results)
    if model is None:
        return ""
    shown = test_sets(results) or ["train"]
    found = [
        f"{set_label(row.set)}: {words.auc(row.auc)}"
        f" (95% CI {words.interval(row.ci_low, row.ci_high)})"
        for row in results.performance
        if row.run == main_run(results) and row.model == model and row.set in shown
        if row.auc is not None
    ]
    label = MODELS[model].label
    text = f"AUC of the {words.lowered(label)} model. {'; '.join(found)}." if found else ""
    return f"{text} {primary_sentence(results)}".strip()


def heterogeneity(results: Results) -> str:
    """State the random-effects summary of the headline model."""
    model, run = headline_model(results), main_run(results)
    found = []
    for of_run, name, of_model, count, *numbers in heterogeneity_rows(results):
        if (of_run, of_model) == (run, model):
            mean, low, high, _, share = (float(str(value)) for value in numbers[:5])
            found.append(
                f"{set_label(str(name))}, {count} hospitals: mean {words.auc(mean)} (95% CI"
                f" {words.interval(low, high)}), I2 {100 * share:.0f} %"
            )
    if not found or model is None:
        return ""
    label = words.lowered(MODELS[model].label)
    return f"AUC of the {label} model by hospital, random-effects summary. {'; '.join(found)}."


def subgroups(results: Results) -> str:
    """Name the subgroups."""
    names = list(dict.fromkeys(row.variable for row in results.strata))
    return f"Subgroups: {words.join([words.humanise(n) for n in names])}." if names else ""


def references(results: Results) -> str:
    """Name the references that the federated models were compared with."""
    found = {row.run.split(":")[0] for row in results.performance} - {"federated"}
    names = {"pooled": "training on pooled patients", "local": "each hospital training alone"}
    told = [names.get(run, run) for run in sorted(found)]
    return f"Sensitivity: compared with {words.join(told)}." if told else ""


def updating(results: Results) -> str:
    """Say that models are not updated after their evaluation."""
    del results
    return (
        "No model was changed after its evaluation. What recalibration in the large, and of"
        " intercept and slope, would change on the test sets is in tables/recalibration.csv."
    )


def ensemble(results: Results) -> str:
    """Say which models are combined."""
    settings = results.settings
    if settings is None or not settings.fusion_models:
        return ""
    names = words.join([words.lowered(MODELS[name].label) for name in settings.fusion_models])
    found = " ".join(_fusion(results, settings))
    return f"Models are combined by {names}. {found}".strip()


def weights(results: Results) -> str:
    """Say that the weights of linear models are shown."""
    selections = results.selection.get(main_run(results), {})
    shown = [
        words.model_label(model)
        for model, one in selections.items()
        if (one.svm and one.svm.weights) or one.cox
    ]
    return f"The weight of every feature is shown for {words.join(shown)}." if shown else ""


def warnings(results: Results) -> str:
    """Repeat the warnings of the run."""
    return " ".join(results.warnings)


def privacy(results: Results) -> str:
    """Say what left the hospitals."""
    masked = results.settings and results.settings.privacy.get("masking") != "off"
    total = sum(row.bytes_up for row in results.transfers)
    text = "Images and records stay at their hospital, which sends "
    text += "masked sums and weights" if masked else "sums and weights"
    return f"{text} ({words.size(total)} in all). Every message is in the privacy dossier."


def seed(results: Results) -> str:
    """State seed and digest."""
    return f"Seed {results.study.seed}; SHA-256 of the study {results.study.digest}."


def _rows(results: Results, name: str) -> list[Performance]:
    run = main_run(results)
    return [row for row in results.performance if row.run == run and row.set == name]


def _labels(results: Results) -> str:
    return words.join([words.lowered(MODELS[name].label) for name in models(results)] or ["none"])


def _network(name: str) -> bool:
    return name in MODELS and MODELS[name].network is not None


def with_images(results: Results) -> bool:
    """Return whether any model looks at images."""
    settings = results.settings
    return settings is not None and bool(set(settings.base_models) - {"clinical"})
