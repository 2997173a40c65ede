"""Check that no interrupted import has left images with names."""

from __future__ import annotations

from client.check.finding import Findings, or_ok, warning
from client.check.registry import check
from client.importing.archive import SPOOL
from client.site import SiteSettings

KIND = "identifiers.retrieved"


@check("site", identifiers_retrieved="no import has left images with names")
def check_retrieved(settings: SiteSettings) -> Findings:
    """Look for what an interrupted import has fetched from the archive."""
    folder = settings.work / SPOOL
    count = sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0
    left = warning(
        KIND,
        str(folder),
        f"{count} files with names, which an interrupted import has left",
        "finish the import by the same command, or remove them: fedlnm-site import SITE --forget",
    )
    yield from or_ok([left] if count else [], {KIND: "no import has left any"})
