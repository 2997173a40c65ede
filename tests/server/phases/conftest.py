"""A federation over tables in memory, answered by the handlers that serve a hospital."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from flwr.app import Context, Message

from client import handlers
from client.site import SiteSettings
from client.store.masks import RunMasks
from client.store.site_db import Draft
from common.disclosure import stricter
from common.messages.codec import decode, encode
from common.messages.exchanges import EnrolReply
from common.statistics.base import Rows
from common.study.model import Study, parse_study
from server.federation.federation import Federation
from sim.engines.inprocess import SERVER_NODE, InProcessGrid, task_identity

Tables = Mapping[str, Rows]

STUDY = """
name = "memory"
endpoint = "event"
base_models = ["clinical"]
fusion_models = []
sites = [{ name = "a" }, { name = "b" }, { name = "c" }]
test_sets = [{ name = "t", split = "external_test", sites = ["a", "b", "c"] }]
clinical = [{ name = "x0", kind = "continuous" }]
[privacy]
masking = "off"
min_rows = 1
min_rows_per_fold = 1
min_per_class = 1
min_oof_rows = 1
min_class_per_fold = 0
min_category = 0
min_cell = 0
"""


@dataclass(frozen=True)
class Memory:
    """Implements `common.transforms.views.TableReader` over given rows."""

    tables: Tables

    def read(self, name: str, subset: str) -> Rows:
        return self.tables[f"{name}@{subset}" if f"{name}@{subset}" in self.tables else name]


class Hospitals:
    """Stands in for a ClientApp: node i is site i; remembers the kinds of message asked for."""

    def __init__(self, sites: Mapping[str, Tables], study: Study) -> None:
        self.asked: list[str] = []
        self._workspaces = {
            name: cast(
                Any,
                SimpleNamespace(
                    name=name,
                    study=study,
                    tables=Memory(tables),
                    privacy=stricter(study.privacy, None),
                    masks=RunMasks(SiteSettings(name=name), study, "memory", Draft(Path("unused"))),
                ),
            )
            for name, tables in sites.items()
        }

    def __call__(self, message: Message, context: Context) -> Message:
        self.asked.append(message.metadata.message_type)
        site = Path(str(context.node_config["site-config"])).name
        handler = {"query.sum": handlers.sums, "query.rows": handlers.rows}[self.asked[-1]]
        reply = handler(self._workspaces[site], cast(Any, decode(message.content)))
        return Message(encode(reply), reply_to=message)


def memory_federation(sites: Mapping[str, Tables], study: Study) -> Federation:
    hospitals = Hospitals(sites, study)
    grid = InProcessGrid(cast(Any, hospitals), {name: Path(name) for name in sites})
    federation = Federation(grid=grid, study=study, run="memory")
    for node, (name, tables) in zip(grid.get_node_ids(), sites.items(), strict=True):
        columns = {t: rows.columns for t, rows in tables.items() if "@" not in t}
        readings = tuple(t.partition(":")[2] for t in columns if ":" in t)
        label = next(iter(tables.values())).label
        federation.nodes[name] = node
        counts = {"train": (label.size, int(label.sum()))}
        federation.members[name] = EnrolReply(
            name, study.digest(), {}, counts, columns, readings, 0
        )
    return federation


def split_table(
    values: Any,
    label: Any,
    fold: Any = None,
    *,
    shares: tuple[float, ...] = (0.25, 0.45, 0.3),
    table: str = "clinical",
    prefix: str = "x",
) -> dict[str, dict[str, Rows]]:
    """One table over sites a, b, c ...; folds 0 ... 4 in turn unless given."""
    values, label = np.asarray(values, dtype=float), np.asarray(label, dtype=float)
    n = label.size
    fold = np.arange(n) % 5 if fold is None else np.asarray(fold)
    ends = np.round(np.cumsum((0.0, *shares)) * n).astype(int)
    columns = tuple(f"{prefix}{i}" for i in range(values.shape[1]))
    return {
        name: {
            table: Rows(
                values=values[a:b],
                columns=columns,
                label=label[a:b],
                fold=fold[a:b].astype(np.int64),
            )
        }
        for name, a, b in zip("abcdefgh", ends[:-1], ends[1:], strict=False)
    }


@pytest.fixture
def memory_study() -> Callable[..., Study]:
    def make(columns: int = 1, extra: str = "") -> Study:
        many = ", ".join(f'{{ name = "x{i}", kind = "continuous" }}' for i in range(columns))
        text = STUDY.replace('{ name = "x0", kind = "continuous" }', many)
        return parse_study(text + extra)

    return make


@pytest.fixture
def federated() -> Iterator[Callable[..., Federation]]:
    with task_identity(SERVER_NODE):
        yield memory_federation


@pytest.fixture
def memory() -> type[Memory]:
    return Memory


@pytest.fixture
def split() -> Callable[..., dict[str, dict[str, Rows]]]:
    return split_table
