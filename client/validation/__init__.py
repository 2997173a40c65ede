"""Evaluation of a study's models at a hospital that is not in the study."""
