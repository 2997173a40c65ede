"""Descriptions name statistics, tables and steps; digests see every number."""

from __future__ import annotations

import numpy as np

from common.ledger.entry import LONGEST_TEXT, Item, describe_item, request_digest
from common.statistics.moments import Means
from common.transforms import Select
from common.transforms.views import ByFold, Joined, Paired, Table, View, table


def test_a_description_names_statistic_tables_and_steps() -> None:
    view = table("clinical").then(Select(columns=("age",)))
    assert describe_item(Means(), view) == "Means: clinical > Select"
    paired = View(source=Paired(first=Table(name="radiomics"), second=Table(name="radiomics:r2")))
    assert describe_item(Means(), paired) == "Means: radiomics * radiomics:r2"
    joined = View(source=Joined(parts=(view, table("dl3d/final/features"))))
    assert describe_item(Means(), joined) == ("Means: (clinical > Select + dl3d/final/features)")
    folds = View(source=ByFold(parts=(view, view, view)))
    assert describe_item(Means(), folds) == "Means: by fold (clinical > Select)"


def test_a_description_holds_neither_columns_nor_odd_characters() -> None:
    view = table("clin\x1b[31m\nical").then(Select(columns=("secret-column",)))
    described = describe_item(Means(), view)
    assert "secret-column" not in described
    assert described == "Means: clin??31m?ical > Select"


def test_a_long_description_still_fits_and_still_differs() -> None:
    def long(last: str) -> str:
        parts = tuple(table(f"table-{i}") for i in range(300))
        return describe_item(Means(), View(source=Joined(parts=(*parts, table(last)))))

    assert long("x") != long("y")
    assert len(long("x")) <= LONGEST_TEXT
    Item(what=long("x"), subset="train", request="", shapes={})


def test_a_digest_sees_every_number_shape_and_dtype() -> None:
    values = np.arange(6.0)
    same = request_digest(Means(), table("clinical"), {"w": values})
    assert same == request_digest(Means(), table("clinical"), {"w": values.copy()})
    nudged = values.copy()
    nudged[3] = np.nextafter(nudged[3], 9)
    others = [
        request_digest(Means(), table("clinical"), {"w": changed})
        for changed in (nudged, values.reshape(2, 3), values.view(np.int64))
    ]
    others.append(request_digest(Means(), table("radiomics"), {"w": values}))
    assert len({same, *others}) == 5


def test_a_digest_does_not_depend_on_the_memory_layout() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    assert request_digest(matrix) == request_digest(np.asfortranarray(matrix))
