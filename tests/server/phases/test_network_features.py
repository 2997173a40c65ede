from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LassoCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit
from sklearn.svm import LinearSVC

from common.disclosure.forms import FormError, check_models, check_out_of_fold
from common.disclosure.gradients import machine_views
from common.ledger.entry import request_digest
from common.statistics.gram import FoldGram
from common.study.model import Study
from common.transforms.views import base_tables, materialise
from server.phases.clinical import fit_clinical
from server.phases.fusion import fit_feature_fusion
from server.phases.lasso import penalties
from server.phases.networks import TrainedNetwork, network_asks, network_model, variants
from tests import builders
from tests.server.phases.test_program import covered


def cohort(n: int = 150, p: int = 8) -> tuple[Any, Any]:
    random = np.random.default_rng(21)
    values = random.normal(size=(n, p))
    label = (values[:, 0] - 0.5 * values[:, 1] + 1.2 * random.normal(size=n) > 0.2).astype(float)
    return values, label


def network_tables(values: Any, label: Any, variants: int) -> dict[str, dict[str, Any]]:
    """Features and probabilities of a 2D network for every variant: each sees them its own way."""
    random = np.random.default_rng(5)
    found: dict[str, dict[str, Any]] = {name: {} for name in "abc"}
    for k in range(variants):
        variant = "final" if k == variants - 1 else f"fold{k}"
        mixed = values @ random.normal(size=(values.shape[1], 6))
        odds = 1.0 / (1.0 + np.exp(-values[:, [0]]))
        for name, columns, prefix in (("features", mixed, "dl2d_"), ("probability", odds, "dl2d")):
            own = ("dl2d",) if name == "probability" else ()
            dealt = builders.split(
                columns, label, table=f"dl2d/{variant}/{name}", columns=own, prefix=prefix
            )
            for site, tables in dealt.items():
                found[site] |= tables
    return found


def trained(study: Study) -> dict[str, TrainedNetwork]:
    one = TrainedNetwork(np.zeros(0, dtype=np.float32), 6, (), (), 1, None, "random weights")
    return dict.fromkeys(variants(study), one)


def sites_of(study: Study, *, clinical: bool = True) -> dict[str, dict[str, Any]]:
    values, label = cohort()
    images = network_tables(values, label, study.folds + 1)
    if not clinical:
        return images
    dealt = builders.split(values[:, :3], label)
    return {site: {**dealt[site], **images[site]} for site in dealt}


def study_of(networks: str, *models: str, **blocks: Any) -> Study:
    return builders.open_study(
        3 if "clinical" in models else 0,
        base_models=list(models),
        selection={"networks": networks},
        **blocks,
    )


def pooled(view: Any, sites: dict[str, dict[str, Any]]) -> tuple[Any, Any, Any]:
    """Values, labels and folds of a view over all sites."""
    parts = [materialise(view, builders.Memory(tables), "train") for tables in sites.values()]
    return (
        np.vstack([part.values for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.fold for part in parts]),
    )


def test_a_fusion_compares_the_columns_that_are_the_same_in_every_fold() -> None:
    values, label = cohort()
    study = builders.open_study(
        3,
        base_models=["clinical", "dl2d"],
        fusion_models=["fusion_feature"],
    )
    clinical = builders.split(values[:, :3], label)
    images = network_tables(values, label, study.folds + 1)
    federation = builders.federation({s: {**clinical[s], **images[s]} for s in clinical}, study)
    network = network_model(federation, "dl2d", trained(study))
    found = fit_feature_fusion(federation, {"clinical": fit_clinical(federation), "dl2d": network})
    folds = found.selection["folds"]
    assert folds["candidates"] == 3
    assert {name for kept in folds["kept"] for name in kept} <= {"x0", "x1", "x2"}
    assert sum(folds["others"]) > 0


@pytest.mark.parametrize("networks", ["show", "use"])
def test_the_features_kept_are_those_of_scikit_learns_lasso_on_all_rows(networks: str) -> None:
    study = study_of(networks, "dl2d")
    sites = sites_of(study, clinical=False)
    federation = builders.federation(sites, study)
    model = network_model(federation, "dl2d", trained(study))
    asked = [item.view for item, _ in federation.known if isinstance(item.statistic, FoldGram)]
    assert len(asked) == study.folds + 1
    kept = []
    for outer, view in enumerate(asked):
        x, y, fold = pooled(view, sites)
        seen = fold != outer  # of the final model, the last, nobody is left out
        lasso = LassoCV(
            alphas=penalties(study), cv=PredefinedSplit(fold[seen]), tol=1e-10, max_iter=100_000
        ).fit(x[seen], y[seen])
        kept.append([view.outputs()[i] for i in np.flatnonzero(np.abs(lasso.coef_) > 1e-9)])
    assert list(model.selected) == kept[-1]
    assert model.selection["folds"]["others"] == tuple(map(len, kept[:-1]))
    steps = [step["step"] for step in model.selection["steps"]]
    assert steps == ["columns", "components", "constant", "rare", "spearman", "lasso"]
    assert set(model.selection["correlation"]["names"]) == set(kept[-1])


def test_where_features_are_shown_the_network_keeps_its_own_probability() -> None:
    off, show = (study_of(networks, "dl2d") for networks in ("off", "show"))
    sites = sites_of(show, clinical=False)
    plain = network_model(builders.federation(sites, off), "dl2d", trained(off))
    shown = network_model(builders.federation(sites, show), "dl2d", trained(show))
    assert request_digest(shown.final) == request_digest(plain.final)
    assert request_digest(shown.out_of_fold) == request_digest(plain.out_of_fold)
    assert "svm" not in shown.selection
    check_models({"dl2d": shown.final}, show)
    check_out_of_fold({"dl2d": shown.out_of_fold}, show)


def test_where_features_are_used_a_machine_on_them_gives_the_probability() -> None:
    study = study_of("use", "dl2d")
    sites = sites_of(study, clinical=False)
    federation = builders.federation(sites, study)
    model = network_model(federation, "dl2d", trained(study))
    final = [item.view for item, _ in federation.known if isinstance(item.statistic, FoldGram)][-1]
    x, y, _ = pooled(final.restrict(model.selected), sites)
    svm = LinearSVC(C=model.selection["svm"]["cost"], dual=False, tol=1e-10, max_iter=10_000)
    svm.fit(x, y)
    weights = [model.selection["svm"]["weights"][name] for name in model.selected]
    np.testing.assert_allclose(weights, svm.coef_[0], atol=2e-4)
    scores, labels, _ = pooled(model.final, sites)
    assert ((scores > 0) & (scores < 1)).all()
    assert roc_auc_score(labels, scores[:, 0]) == pytest.approx(
        roc_auc_score(y, svm.decision_function(x)), abs=2e-3
    )
    # out of fold, each patient is judged by the network that never saw the patient
    assert base_tables(model.out_of_fold) == {f"dl2d/fold{k}/features" for k in range(5)}
    out, labels, _ = pooled(model.out_of_fold, sites)
    assert roc_auc_score(labels, out[:, 0]) > 0.65


def test_a_site_takes_the_form_that_the_study_says_and_no_other() -> None:
    use, off = study_of("use", "dl2d"), study_of("off", "dl2d")
    sites = sites_of(use, clinical=False)
    machine = network_model(builders.federation(sites, use), "dl2d", trained(use))
    head = network_model(builders.federation(sites, off), "dl2d", trained(off))
    check_models({"dl2d": machine.final}, use)
    check_out_of_fold({"dl2d": machine.out_of_fold}, use)
    for model, study in ((machine, off), (head, use)):
        with pytest.raises(FormError):
            check_models({"dl2d": model.final}, study)
        with pytest.raises(FormError):
            check_out_of_fold({"dl2d": model.out_of_fold}, study)
    # nor the features of a network that saw the fold
    parts = (machine.out_of_fold.source.parts[1], *machine.out_of_fold.source.parts[1:])
    other = type(machine.out_of_fold)(
        source=type(machine.out_of_fold.source)(parts=parts),
        transforms=machine.out_of_fold.transforms,
    )
    with pytest.raises(FormError, match="another table"):
        check_out_of_fold({"dl2d": other}, use)


@pytest.mark.parametrize("networks", ["off", "show", "use"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_everything_asked_is_declared(networks: str, kernel: str) -> None:
    study = study_of(networks, "dl2d", svm={"kernel": kernel, "landmarks": 16, "max_rounds": 4})
    federation = builders.federation(sites_of(study, clinical=False), study)
    network_model(federation, "dl2d", trained(study))
    phase = network_asks(study, "dl2d")
    assert all(covered(item, phase) for items in federation.rounds for item in items)
    assert len(federation.rounds) <= phase.rounds


def test_gradients_on_a_networks_features_are_counted_for_each_fold() -> None:
    fusion = {"fusion_models": ["fusion_feature"]}
    assert machine_views(study_of("off", "dl2d"), "dl2d") == 0
    assert machine_views(study_of("show", "dl2d"), "dl2d") == 0
    assert machine_views(study_of("use", "dl2d"), "dl2d") == 6
    assert machine_views(study_of("use", "clinical", "dl2d", **fusion), "dl2d") == 12
    assert machine_views(study_of("use", "clinical", "dl2d", **fusion), "clinical") == 7


def test_fused_features_are_the_same_whether_a_network_selects_or_not() -> None:
    fusion = {"fusion_models": ["fusion_feature"]}
    found = []
    for networks in ("off", "use"):
        study = study_of(networks, "clinical", "dl2d", **fusion)
        federation = builders.federation(sites_of(study), study)
        found.append(network_model(federation, "dl2d", trained(study)).features)
    assert request_digest(*found[0]) == request_digest(*found[1])
