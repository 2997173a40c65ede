"""DICOM: a CT series as a volume, RTSTRUCT contours and DICOM-SEG segments as masks on it."""
