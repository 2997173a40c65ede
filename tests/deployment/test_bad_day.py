"""One run in which nearly everything that can fail does, much of it at the same time."""

from __future__ import annotations

import time
from typing import Any


def test_a_bad_day_changes_no_result(stage: Any, staging: Any) -> None:
    with stage.sites(), stage.run() as run:
        stage.amid(run, "a")
        stage.supernode("a").kill()
        run.program("flower-superexec").kill()
        run.reaches("restarted", what="SuperExec")
        run.program("flwr-serverapp").kill()
        run.reaches("restarted", what="the study's program")
        run.program("flwr-serverapp")
        run.program("server.deployment.superlink").kill()
        run.reaches("restarted", what="SuperLink")
        stage.lines["b"].cut()
        with stage.run() as second:
            assert second.screen.ends() == 1
        assert "a run is under way in this folder" in second.screen.text
        time.sleep(15)
        stage.lines["b"].mend()
        stage.finishes_as_undisturbed(run)
