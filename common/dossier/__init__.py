"""The privacy dossier: what leaves a hospital, for the people who have to approve it."""

from common.dossier.general import general_dossier
from common.dossier.of_study import in_plain_words, study_dossier

__all__ = ["general_dossier", "in_plain_words", "study_dossier"]
