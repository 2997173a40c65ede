"""The offline kit: a release as one folder that installs with Python alone."""
