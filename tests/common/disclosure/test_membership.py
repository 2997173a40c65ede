"""The audit of membership leaves out the one model that the coordinator could make up."""

from __future__ import annotations

import pytest

from common.disclosure.membership import audited_models
from tests import builders

NAMES = ("clinical", "radiomics", "fusion_decision")


@pytest.mark.parametrize(("pooling", "audited"), [("rows", NAMES[:2]), ("bins", NAMES)])
def test_a_stacker_is_attacked_only_where_the_hospitals_derive_it(
    pooling: str, audited: tuple[str, ...]
) -> None:
    study = builders.study(fusion={"pooling": pooling})
    assert audited_models(study, NAMES) == audited
