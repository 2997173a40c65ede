"""Apps as a coordinator may make them."""

from __future__ import annotations

import hashlib
import zipfile
from io import BytesIO


def bundle(files: dict[str, bytes]) -> bytes:
    """A FAB of these files, with the list by which Flower checks them."""
    lines = [f"{n},{hashlib.sha256(b).hexdigest()},{8 * len(b)}" for n, b in files.items()]
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(".info/CONTENT", "\n".join(lines))
    return buffer.getvalue()
