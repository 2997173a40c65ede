"""Headers of NIfTI, NRRD and MetaImage files: read strictly, so that no contradiction is missed."""
