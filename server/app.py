"""The ServerApp: reads the run's settings, runs the study, writes what a run leaves."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from threadpoolctl import threadpool_limits

from common.errors import StudyError
from common.flower.arrays import join_arrays_once
from common.flower.pushes import push_few_at_once
from common.masking import identity
from common.study.model import load_study
from common.utils.processes import holding
from common.utils.text_file import read_written
from server.commands.dossier import write_dossier
from server.deployment.run_folder import PROGRAM_LOCK
from server.federation.federation import Federation
from server.federation.receipts import FILE as REPLIES
from server.progress.events import Events
from server.run.demonstration import prepare_demonstration
from server.run.study_run import StudyRun

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study that the run configuration names.

    Run configuration: `study` (path of study.toml; empty = the demonstration), `out` (folder of the
    run), `label` (name of the run in results.json), `run-name` (the name that the sites know it by,
    the label where it is empty), `engine` (for the report),
    `report` (whether to write one here: yes or no), `identity` (the coordinator's key file, which
    signs the final models; empty = they are not signed).
    """
    join_arrays_once()
    push_few_at_once()
    config = dict(context.run_config)
    if not config["study"]:
        config.update(prepare_demonstration(grid))
    out = Path(str(config["out"]))
    out.mkdir(parents=True, exist_ok=True)
    events = Events(path=out / "events.jsonl")
    with holding(out / PROGRAM_LOCK):
        _run_and_report(grid, config, out, events)


def _run_and_report(grid: Grid, config: dict[str, Any], out: Path, events: Events) -> None:
    """Run a study, and say in its events how it ended."""
    try:
        with threadpool_limits(limits=1):
            results = run_configured_study(grid, config, events)
        (out / "run.json").write_text(json.dumps(results), encoding="utf-8")
        if config["report"] == "yes":
            from server.manuscript.write import write_beside
            from server.report.study_report import (
                write_outputs,  # loads matplotlib, which no run needs
            )

            problem = write_beside(write_outputs(results, out), out)
            if problem:
                events.emit("no_manuscript", message=problem)
            print(f"report: {out / 'report' / 'index.html'}")
        events.emit("finished")
    except StudyError as error:
        events.emit("failed", message=str(error), exit_code=error.exit_code)
        raise
    except Exception as error:
        # Flower keeps the text to itself: the run's folder is where people look
        (out / "crash.log").write_text(traceback.format_exc(), encoding="utf-8")
        events.emit("crashed", message=f"{type(error).__name__}: {error}")
        raise


def run_configured_study(grid: Grid, config: Any, events: Events) -> dict[str, Any]:
    """The study over this grid; the rows of results.json."""
    path, out = Path(str(config["study"])), Path(str(config["out"]))
    study = load_study(path)
    (out / "study.toml").write_text(read_written(path), encoding="utf-8")
    label = str(config.get("label", "federated"))
    write_dossier(study, out, label)
    name = str(config.get("run-name", "")) or label.replace(":", "-")
    federation = Federation(
        grid=grid,
        study=study,
        run=name,
        events=events,
        replies=out / REPLIES,
        consents=out / "consents",
    )
    key = str(config.get("identity", ""))
    run = StudyRun(
        federation=federation,
        out=out,
        label=label,
        engine=str(config.get("engine", "")),
        signer=identity.load(Path(key)).private if key else None,
        reports=config.get("report") == "yes",
    )
    results = run.run()
    write_dossier(study, out, label, results["transfers"], results)
    return results
