"""The environment that every process of Flower is started in."""

from __future__ import annotations

from pathlib import Path

from common.flower.programs import flower_environment


def test_flower_reports_to_nobody_and_installs_nothing() -> None:
    environment = flower_environment(Path("work/flower"))
    assert environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert environment["FLWR_HOME"] == "work/flower"
