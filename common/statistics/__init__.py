"""Additive statistics: what a site computes over its rows, and what the sum over sites tells."""
