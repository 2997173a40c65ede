"""Check of a hospital before a study, against everything that the study needs of it."""
