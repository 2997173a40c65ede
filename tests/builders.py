"""Studies and federations that tests start from: `builders.study()`, `builders.federation()`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import tomli_w
from flwr.app import Context, Message

from client import handlers
from client.site import SiteSettings
from client.store.group_key import GroupKeys
from client.store.masks import RunMasks
from client.store.site_db import Draft
from common.disclosure.rule import stricter
from common.ledger.entry import Item, Record
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply, SumItem
from common.models import BASE_MODELS
from common.statistics.base import Rows
from common.study.model import Study, parse_study
from server.federation.federation import Federation
from sim.engines.inprocess import InProcessGrid

Column = dict[str, Any]
Tables = Mapping[str, Rows]
Answers = Mapping[str, Callable[[Any, Any], Any]]
Tests = Mapping[str, tuple[str, Iterable[str]]]

# -- studies ------------------------------------------------------------------------------------


def number(name: str, **settings: Any) -> Column:
    """Return a continuous clinical column; None leaves a setting out."""
    given = {key: value for key, value in settings.items() if value is not None}
    return {"name": name, "kind": "continuous", **given}


def levels(name: str, *names: str, kind: str = "", **settings: Any) -> Column:
    """Return a clinical column with levels: binary if there are two, or else ordinal."""
    kind = kind or ("binary" if len(names) == 2 else "ordinal")
    return {"name": name, "kind": kind, "levels": list(names), **settings}


def study_text(**overrides: Any) -> str:
    """Write a small valid study as TOML: three sites, the clinical model and its one column.

    Parameters
    ----------
    sites : names, or entries of `[[sites]]`.
    visitors : further sites, which train nothing.
    tests : split and sites by name of the test set; one set that all sites share unless given.
    clinical : columns, from `number` and `levels`.
    overrides : any other key or block of a study file; None leaves a default out.
    """
    written: dict[str, Any] = {
        "name": "s",
        "endpoint": "event",
        "base_models": ["clinical"],
        "fusion_models": [],
    }
    written |= _blocks(**{"sites": "abc", **overrides})
    if "clinical" not in written:
        models = written["base_models"] or BASE_MODELS
        written["clinical"] = [number("x")] if "clinical" in models else []
    if "test_sets" not in written:
        everywhere = [site["name"] for site in written["sites"]]
        written |= _blocks(tests={"internal": ("internal_test", everywhere)})
    return tomli_w.dumps({key: value for key, value in written.items() if value is not None})


def _blocks(
    *,
    sites: Iterable[str | dict[str, Any]] = (),
    visitors: Iterable[str] = (),
    tests: Tests | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Return keys of a study file, with sites and test sets spelled out."""
    entries = [{"name": site} if isinstance(site, str) else site for site in sites]
    entries += [{"name": site, "trains": False} for site in visitors]
    sets = [
        {"name": name, "split": split, "sites": list(members)}
        for name, (split, members) in (tests or {}).items()
    ]
    return (
        settings
        | ({"sites": entries} if entries else {})
        | ({"test_sets": sets} if tests is not None else {})
    )


def study(**overrides: Any) -> Study:
    """Return the study of `study_text`, validated."""
    return parse_study(study_text(**overrides))


def study_file(path: Path, **overrides: Any) -> Path:
    """Write the study of `study_text`, once it is known to be valid."""
    text = study_text(**overrides)
    parse_study(text)
    path.write_text(text, encoding="utf-8")
    return path


def amended(path: Path, **overrides: Any) -> Study:
    """Return the study of a file with these keys and blocks instead of its own."""
    return parse_study(_amended_text(path, overrides))


def amend(path: Path, **overrides: Any) -> None:
    """Put keys and blocks into a study file, which has to stay valid."""
    text = _amended_text(path, overrides)
    parse_study(text)
    path.write_text(text, encoding="utf-8")


def _amended_text(path: Path, overrides: dict[str, Any]) -> str:
    return tomli_w.dumps(tomllib.loads(path.read_text(encoding="utf-8")) | _blocks(**overrides))


def open_study(columns: int = 1, **overrides: Any) -> Study:
    """Return a study of `columns` numbers x0, x1, ... with neither masks nor thresholds."""
    thresholds = dict.fromkeys(
        ("min_rows", "min_rows_per_fold", "min_per_class", "min_oof_rows"), 1
    )
    thresholds |= dict.fromkeys(("min_class_per_fold", "min_category", "min_cell"), 0)
    base = {
        "tests": {"t": ("external_test", "abc")},
        "clinical": [number(f"x{i}") for i in range(columns)],
    }
    privacy = {"masking": "off", **thresholds, **overrides.pop("privacy", {})}
    return study(**{**base, "privacy": privacy, **overrides})


ALL_MODELS: dict[str, Any] = {"base_models": None, "fusion_models": None}
"""Overrides for a study of all models."""
TABULAR: dict[str, Any] = {
    "name": "tabular",
    "seed": 11,
    "strata": ["sex"],
    "tests": {"internal": ("internal_test", "abc"), "external_1": ("external_test", "c")},
    "clinical": [
        number("marker"),
        number("age", unit="years"),
        levels("sex", "female", "male"),
        levels("stage", "1", "2", "3"),
    ],
}
"""Overrides for the study of the hospitals that `write_tabular_hospital` makes."""


# -- federations --------------------------------------------------------------------------------


def split(
    values: Any,
    label: Any,
    fold: Any = None,
    *,
    shares: tuple[float, ...] = (0.25, 0.45, 0.3),
    table: str = "clinical",
    columns: Sequence[str] = (),
    prefix: str = "x",
) -> dict[str, dict[str, Rows]]:
    """Deal one table to sites a, b, c ...; folds 0 ... 4 in turn unless given."""
    values, label = np.asarray(values, dtype=float), np.asarray(label, dtype=float)
    n = label.size
    fold = np.arange(n) % 5 if fold is None else np.asarray(fold)
    ends = np.round(np.cumsum((0.0, *shares)) * n).astype(int)
    columns = tuple(columns) or tuple(f"{prefix}{i}" for i in range(values.shape[1]))
    return {
        name: {table: Rows(values[a:b], columns, label[a:b], fold[a:b].astype(np.int64))}
        for name, a, b in zip("abcdefgh", ends[:-1], ends[1:], strict=False)
    }


class Memory:
    """Tables of one site, by name or, where a subset has its own, by `name@subset`."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def read(self, name: str, subset: str) -> Rows:
        return self.tables[f"{name}@{subset}" if f"{name}@{subset}" in self.tables else name]


def _workspace(name: str, study: Study, tables: Tables) -> Any:
    work = Path("unused")
    draft = Draft(work)
    masks = RunMasks(SiteSettings(name=name), study, "memory", draft)
    return SimpleNamespace(
        name=name,
        study=study,
        tables=Memory(tables),
        privacy=stricter(study.privacy, None),
        draft=draft,
        masks=masks,
        group=GroupKeys(work, study, "memory", name, masks),
        deal=lambda totals: None,
        settle_folds=lambda: None,
    )


class Hospitals:
    """Stands in for a ClientApp: node i is site i, and the handlers of a hospital answer."""

    def __init__(self, sites: Mapping[str, Tables], study: Study, answers: Answers) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answers: Answers = {
            "query.sum": handlers.answer_sums,
            "query.rows": handlers.rows,
            **answers,
        }
        self._workspaces = {name: _workspace(name, study, own) for name, own in sites.items()}

    def __call__(self, message: Message, context: Context) -> Message:
        site = Path(str(context.node_config["site-config"])).name
        kind = message.metadata.message_type
        self.asked.append((site, kind))
        reply = self._answers[kind](self._workspaces[site], cast(Any, decode(message.content)))
        return Message(encode(reply), reply_to=message)


class Recorded(Federation):
    """A federation that keeps every question with its result, and the rounds they took."""

    def __init__(self, hospitals: Hospitals, names: Iterable[str], study: Study) -> None:
        grid = InProcessGrid(cast(Any, hospitals), {name: Path(name) for name in names})
        super().__init__(grid=grid, study=study, run="memory")
        self.hospitals = hospitals
        self.rounds: list[list[SumItem]] = []
        self.known: list[tuple[SumItem, Any]] = []

    def sum_many(self, items: Sequence[SumItem]) -> list[Any]:
        self.rounds.append(list(items))
        results = super().sum_many(items)
        self.known.extend(zip(items, results, strict=True))
        return results


def federation(
    sites: Mapping[str, Tables], study: Study, answers: Answers | None = None
) -> Recorded:
    """Return sites in this process that hold the given tables, and keep the study's thresholds.

    The coordinator's program asks as the study says, under masks or not; the sites answer without.
    `answers` replace handlers, by kind of message.
    """
    plain = study.privacy.model_copy(update={"masking": "off"})
    hospitals = Hospitals(sites, study.model_copy(update={"privacy": plain}), answers or {})
    made = Recorded(hospitals, sites, study)
    for node, (name, tables) in zip(made.grid.get_node_ids(), sites.items(), strict=True):
        columns = {t: rows.columns for t, rows in tables.items() if "@" not in t}
        readings = tuple(t.partition(":")[2] for t in columns if ":" in t)
        counts: dict[str, tuple[int, int]] = {}
        for table, rows in tables.items():
            subset = table.partition("@")[2] or "train"
            counts.setdefault(subset, (rows.n, int(rows.label.sum())))
        made.nodes[name] = node
        made.members[name] = EnrolReply(name, study.digest(), {}, counts, columns, readings, 0)
    return made


# -- ledgers ------------------------------------------------------------------------------------


def record(number: int, **item: Any) -> Record:
    """Return what a ledger notes of a sum that three sites gave; `item` changes its item."""
    given = {"what": "Means: clinical", "subset": "train", "request": "a" * 64}
    counts = {"shapes": {"sum": (3,)}, "rows": 45, "positives": 18}
    whom = {"membership": "b" * 64, "participants": ("a", "b", "c")}
    made = Item(**{**given, **counts, **whom, **item})
    return Record(
        run="r1",
        study="c" * 64,
        exchange="query.sum",
        exchange_id=str(number),
        roster="d" * 64,
        items=(made,),
        payload=f"{number:064x}",
        size=4321,
        decision="released",
    )
