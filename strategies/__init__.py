"""Federated optimisation of networks: one strategy a file, found by itself (docs/extending.md)."""
