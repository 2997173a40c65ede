from __future__ import annotations

import json
from typing import Any

from common.study.model import Study
from server.report.recorded_settings import BLOCKS, PARTS, recorded_settings
from server.report.schema import RecordedSettings
from tests import builders

# who takes part stands in `study` of results.json, without keys
ELSEWHERE = {"name", "endpoint", "seed", "sites", "test_sets", "coordinator_key", "left"}


def recorded_study(**blocks: Any) -> Study:
    sites = [{"name": name, "public_key": "KEY"} for name in "ab"]
    return builders.study(coordinator_key="KEY", sites=sites, **builders.ALL_MODELS, **blocks)


def remarks(**changes: Any) -> str:
    return " ".join(recorded_settings(recorded_study().model_copy(update=changes))["remarks"])


def test_every_setting_is_recorded_with_its_value_and_no_key_is() -> None:
    study = recorded_study()
    found = recorded_settings(study)
    assert {*BLOCKS, *PARTS, *ELSEWHERE, "reporting", "follow_up"} == set(Study.model_fields)
    written = study.model_dump(mode="json")
    for name in {*BLOCKS, *PARTS} - {"svm", "analysis"}:
        assert found[name] == written[name]
    assert found["analysis"] == {"thresholds": [0.05, 0.5], "primary": {}}
    assert "KEY" not in json.dumps(found)


def test_of_the_authors_answers_those_that_are_there_are_recorded() -> None:
    study = recorded_study(reporting={"ethics": "approved", "funding": ""})
    assert recorded_settings(study)["reporting"] == {"ethics": "approved"}
    assert recorded_settings(recorded_study())["reporting"] == {}


def test_the_schema_keeps_what_was_recorded() -> None:
    found = json.loads(json.dumps(recorded_settings(recorded_study())))
    kept = RecordedSettings.model_validate(found).model_dump(mode="json")
    assert kept == found
    assert json.dumps(kept["dl3d"]) == json.dumps(found["dl3d"])  # True is not 1, 1.0 is not 1


def test_pretrained_weights_go_by_name_and_digest_without_their_folder() -> None:
    study = recorded_study(dl2d={"pretrained": "/home/somebody/resnet50.pth"})
    found = recorded_settings(study)
    assert found["dl2d"]["pretrained"] == "resnet50.pth"
    assert "somebody" not in json.dumps(found)


def test_costs_are_those_that_are_compared() -> None:
    assert recorded_settings(recorded_study())["svm"]["costs"] == [0.001, 0.01, 0.1]
    rbf = recorded_study(svm={"kernel": "rbf", "costs": [5.0, 0.5]})
    assert recorded_settings(rbf)["svm"]["costs"] == [0.5, 5.0]


def test_the_radiomics_features_are_told_to_be_a_reconstruction_where_they_are_used() -> None:
    said = "The 1834 radiomics features are a reconstruction"
    assert said in remarks()
    assert said not in remarks(base_models=("clinical",), fusion_models=())
    assert recorded_settings(recorded_study())["radiomics_file"].count("binWidth: 25") == 1


def test_remarks_are_of_what_the_study_does() -> None:
    windowed = recorded_study().radiomics.model_copy(update={"window": True})
    assert "see all HU" in remarks()
    assert "see all HU" not in remarks(radiomics=windowed)
    faithful = recorded_study().privacy.model_copy(update={"mode": "faithful"})
    assert "normal scores of the standardised features" in remarks()
    assert "components of network features are those of the standardised" in remarks(
        privacy=faithful
    )
    assert "guarded mode" not in remarks(privacy=faithful)
    tabular = remarks(base_models=("clinical",), fusion_models=())
    assert "network" not in tabular and "fusion" not in tabular and "stacker" not in tabular


def test_what_is_selected_of_a_network_is_told() -> None:
    def of(networks: str) -> str:
        return " ".join(
            recorded_settings(recorded_study(selection={"networks": networks}))["remarks"]
        )

    chooses = "the LASSO on a network's features chooses and the feature fusion chooses penalty"
    assert "No LASSO is run on the features of one network" in of("off")
    assert chooses not in of("off")
    for networks in ("show", "use"):
        assert "No LASSO is run" not in of(networks)
        assert chooses in of(networks)
    own = "comes from a machine on the features that the LASSO keeps"
    assert (own in of("use"), own in of("show")) == (True, False)
