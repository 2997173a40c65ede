"""External validation: the signed files of hospitals outside a study as one report."""
