"""The registry of strategies: found by itself, and what a study may say of one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strategies as folder
from common.errors import InputError
from common.study.model import Study, parse_study, write_study
from common.study.strategy import StrategySpec, find_strategy, forget, strategies
from strategies.base import Strategy, register
from tests import builders

ROOT = Path(__file__).resolve().parents[3]
OLD = {
    "proximal_mu": 0.01,
    "server_rate": 0.0,
    "server_momentum": 0.9,
    "beta_1": 0.9,
    "beta_2": 0.99,
    "tau": 0.001,
    "malicious_sites": 0,
}


def study(**dl3d: Any) -> Study:
    return builders.study(base_models=["dl3d"], dl3d=dl3d)


def test_every_file_of_the_folder_that_is_a_strategy_has_its_name() -> None:
    files = {path.stem for path in (ROOT / "strategies").glob("*.py")}
    assert set(strategies()) == files - {"__init__", "base", "model"}


def test_a_name_that_no_file_has_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError) as error:
        study(strategy="fedprx", strategy_options={"proximal_mu": 0.5})
    assert 'did you mean "fedprox"?' in str(error.value)
    assert "the strategies are fedadam, fedavg, fedavgm, fedbn" in str(error.value)
    assert "unknown key" not in str(error.value)


def test_only_a_strategys_own_options_are_kept() -> None:
    kept = study(strategy="fedprox", strategy_options={"proximal_mu": 0.5}).dl3d
    assert kept.strategy_options.model_dump() == {"proximal_mu": 0.5}
    assert study().dl3d.strategy_options.model_dump() == {}


@pytest.mark.parametrize("name", ["fedavg", "fedyogi", "fedavgm"])
def test_a_file_with_the_options_of_all_strategies_is_read_as_before(name: str) -> None:
    old = study(strategy=name, strategy_options=OLD)
    own = find_strategy(name).own_options.model_fields
    assert set(old.dl3d.strategy_options.model_dump()) == set(own)


def test_options_of_another_strategy_change_no_digest() -> None:
    plain, more = study(), study(strategy_options={"tau": 0.5})
    assert plain.digest() == more.digest()
    other = study(strategy="fedadam").digest()
    assert other != study(strategy="fedadam", strategy_options={"tau": 0.5}).digest()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"strategy_options": {"proximal_nu": 1}}, 'unknown key "proximal_nu"; did you mean'),
        ({"strategy_options": {"zzz": 1}}, 'unknown key "zzz"; known keys: beta_1, beta_2'),
        (
            {"strategy": "fedprox", "strategy_options": {"proximal_mu": -1}},
            "proximal_mu: Input should be",
        ),
        # another strategy's option, which would be wrong once the strategy is changed
        ({"strategy_options": {"tau": 0}}, "tau: Input should be greater than 0"),
        ({"strategy_options": "none"}, "dl3d.strategy_options"),
        ({"strategy": "fednova"}, 'strategy "fednova" needs optimiser = "sgd": it is defined for'),
        (
            {"strategy": "scaffold", "transfer_bits": 16},
            'strategy "scaffold" needs transfer_bits = 32: its control variates',
        ),
    ],
)
def test_what_a_strategy_cannot_have_is_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        study(**block)
    assert message in str(error.value)


def test_a_written_study_is_read_back_the_same(tmp_path: Path) -> None:
    made = study(strategy="fedadam", strategy_options={"beta_1": 0.5})
    again = parse_study(write_study(made, tmp_path / "study.toml").read_text("utf-8"))
    assert again == made
    assert again.digest() == made.digest()
    assert Study.model_validate(made.model_dump()) == made


FILE = """
from common.study.block import Settings
from strategies.base import Strategy, register

@register
class Mine(Strategy[Settings]):
    name = title = reference = "mine"
    summary = "does as it likes"
"""


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mine.py").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    yield
    forget("mine")


@pytest.mark.usefixtures("new_file")
def test_a_new_file_in_the_folder_is_all_that_a_new_strategy_takes() -> None:
    assert study(strategy="mine").dl3d.spec.summary == "does as it likes"


def test_without_the_file_there_is_no_such_strategy() -> None:
    with pytest.raises(ValueError, match="unknown strategy"):
        find_strategy("mine")


def test_a_strategy_that_reads_gradients_cannot_promise_differential_privacy() -> None:
    class Peeking(Strategy):  # type: ignore[type-arg]
        name = "peeking"

        def on_gradient(self, model: object) -> None:
            """Look."""

    with pytest.raises(TypeError, match="private = False"):
        register(Peeking)
    assert "peeking" not in strategies()


def test_two_strategies_of_one_name_are_refused() -> None:
    class Second(Strategy):  # type: ignore[type-arg]
        name = "fedavg"

    before = find_strategy("fedavg")
    with pytest.raises(TypeError, match="two strategies are called fedavg"):
        register(Second)
    assert find_strategy("fedavg") is before


def test_reading_a_study_loads_neither_torch_nor_flower() -> None:
    text = builders.study_text(base_models=["dl3d"])
    code = (
        "import sys; from common.study.strategy import strategies; from common.study.model import"
        f" parse_study; parse_study({text!r}); assert len(strategies()) > 9;"
        " sys.exit(bool({'torch', 'flwr'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def row(name: str, spec: type[StrategySpec]) -> str:
    """Return a strategy's row of the table in formats.md."""
    needs = [f"`{key} = {json.dumps(value)}`" for key, (value, _) in spec.requires.items()]
    needs += ['`privacy.masking = "off"`'] if spec.single_updates else []
    remarks = [f"needs {', '.join(needs)}"] if needs else []
    remarks += ["doubles the traffic"] if spec.sends_control else []
    remarks += [] if spec.private else ["not with differential privacy"]
    does = "; ".join([f"{spec.summary} ({spec.reference})", *remarks])
    fields = spec.own_options.model_fields.items()
    options = ", ".join(f"`{key}` {field.default:g} " for key, field in fields).replace(" ,", ",")
    return f"| `{name}` | {does} | {options}|"


def test_the_page_of_formats_has_a_row_for_every_strategy() -> None:
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8").splitlines()
    assert [row(*one) for one in strategies().items() if row(*one) not in page] == []
