"""The privacy dossier: what leaves a hospital, for the people who have to approve it."""

from common.dossier.general import general_dossier
from common.dossier.of_study import study_dossier

__all__ = ["general_dossier", "study_dossier"]
