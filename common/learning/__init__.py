"""Solvers that see only sums over sites."""
