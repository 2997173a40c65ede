"""The privacy dossier of a study, kept at the site that is asked to approve the study."""

from __future__ import annotations

from pathlib import Path

from common.dossier import study_dossier
from common.study.model import Study
from common.utils.durable import write_durably
from server.phases.program import declared_phases


def dossier_path(work: Path, study: Study) -> Path:
    """Beside the approvals of a site whose work folder this is."""
    return work / f"dossier-{study.name}.md"


def write_dossier(work: Path, study: Study) -> Path:
    """Write what can leave in this study, with its real sizes; where it stands."""
    path = dossier_path(work, study)
    write_durably(path, study_dossier(study, declared_phases(study)).encode())
    return path
