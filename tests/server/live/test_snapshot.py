"""Snapshots for the page at each point of a run."""

from __future__ import annotations

import json
from typing import Any

from server.live.snapshot import curves, of_simulation
from server.progress.run import progress_of


def reported(run: Any) -> dict[str, Any]:
    return json.loads(json.dumps(of_simulation(run.folder).read(), allow_nan=False))


def test_a_run_without_events_has_not_started(run: Any) -> None:
    found = reported(run)
    assert (found["state"], found["fraction"], found["curves"]) == ("not started", 0.0, [])


def test_curves_have_both_losses_at_the_rounds_they_belong_to(run: Any) -> None:
    run.start()
    run.enter("dl2d")
    for number in (1, 2, 2, 3):
        run.round("fold0", number)
    ((only,),) = [one["trainings"] for one in reported(run)["curves"]]
    assert only["label"] == "fold 1"
    assert [number for number, _ in only["loss"]] == [1, 2, 3]
    # told with the next round
    assert [number for number, _ in only["held_out_loss"]] == [1, 2]
    assert only["held_out_loss"][0][1] == 0.72 - 0.03


def test_a_loss_that_is_no_number_is_left_out() -> None:
    event = {"kind": "round", "network": "dl2d", "variant": "final", "round": 1, "rounds": 2}
    ((training,),) = [
        one["trainings"] for one in curves([{**event, "loss": float("inf")}, {**event, "round": 2}])
    ]
    assert (training["loss"], training["held_out_loss"]) == ([], [])


def test_sites_refusals_and_stops_are_told(run: Any) -> None:
    run.start()
    run.joined("a")
    late = {"site": "b", "seconds": 90, "why": "not connected"}
    run.emit("waiting", exchange="query.sum", sites=[late])
    found = reported(run)
    assert found["sites"]["a"]["bytes_up"] == 900
    assert found["sites"]["b"]["why"] == "not connected"
    run.emit("refused", site="a", rule="min_rows", threshold=20, subset="train")
    run.emit("failed", message="site a: refuses", exit_code=1)
    found = reported(run)
    assert found["refusals"][0]["rule"] == "min_rows"
    assert (found["state"], found["message"]) == ("stopped", "site a: refuses")
    assert found["fraction"] < 1


def test_areas_are_told_when_the_run_is_finished(run: Any) -> None:
    row = {"run": "federated", "set": "external_1", "n": 40, "model": "dl2d"}
    area = {"auc": 0.8, "ci_low": 0.7, "ci_high": 0.9}
    rows = [{**row, **area}, {**row, **area, "run": "pooled"}]
    (run.folder / "results.json").write_text(json.dumps({"performance": rows}), encoding="utf-8")
    run.start()
    assert reported(run)["performance"] == []
    run.emit("finished")
    (only,) = reported(run)["performance"]
    assert (only["set"], only["auc"]) == ("External test set 1", 0.8)


def whole_run(run: Any) -> None:
    """Interrupted once, and stopped early once."""
    run.joined("a")
    run.start()
    run.enter("enrolment")
    run.enter("clinical")
    run.enter("dl2d")
    run.round("fold0", 1)
    run.round("fold0", 2)
    run.emit("stopped_early", network="dl2d", variant="fold0", round=2, best=1)
    run.emit("failed", message="a: no reply", exit_code=1)
    run.emit(
        "resumed",
        phases=["enrolment", "table1", "clinical", "dl2d", "fusion_decision", "evaluation"],
        rounds={"dl2d": 8},
        trainings=2,
    )
    run.enter("enrolment")
    run.enter("dl2d")
    for number in (1, 2, 3, 4):
        run.round("final", number)
    run.enter("fusion_decision")
    run.enter("evaluation")
    run.emit("finished")


def test_the_share_done_never_falls_and_is_whole_only_at_the_end(run: Any) -> None:
    whole_run(run)
    lines = (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    shares = [progress_of(events[:n], run.now).fraction for n in range(len(events) + 1)]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert max(shares[:-1]) <= 0.99
    assert shares[-1] == 1.0
    assert len(set(shares)) > 8
