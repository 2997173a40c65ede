from __future__ import annotations

import numpy as np
import pytest

from common.bundle.bundle import SIGNATURE_FILE, check_files, sign_files
from common.errors import SignatureError
from common.masking import identity

PRIVATE = identity.generate()
PUBLIC = identity.public_text(PRIVATE.public_key())


def files() -> dict[str, np.ndarray]:
    return {name: np.frombuffer(name.encode(), dtype=np.uint8) for name in ("a.json", "b.skops")}


def test_what_was_signed_passes() -> None:
    check_files(sign_files(files(), PRIVATE), PUBLIC)


@pytest.mark.parametrize("change", ["edit", "remove", "add", "rename"])
def test_a_changed_file_is_noticed(change: str) -> None:
    signed = sign_files(files(), PRIVATE)
    if change == "edit":
        signed["a.json"] = signed["a.json"][::-1].copy()
    if change in ("remove", "rename"):
        taken = signed.pop("b.skops")
    if change == "rename":
        signed["c.skops"] = taken
    if change == "add":
        signed["c.skops"] = signed["a.json"]
    with pytest.raises(SignatureError, match="signature of the bundle does not hold"):
        check_files(signed, PUBLIC)


def test_another_signer_and_no_signature_are_refused() -> None:
    with pytest.raises(SignatureError, match="does not hold"):
        check_files(sign_files(files(), identity.generate()), PUBLIC)
    with pytest.raises(SignatureError, match="not signed"):
        check_files(files(), PUBLIC)
    broken = {**files(), SIGNATURE_FILE: np.zeros(4, dtype=np.uint8)}
    with pytest.raises(SignatureError, match="not signed"):
        check_files(broken, PUBLIC)
