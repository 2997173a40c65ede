"""Federated optimisation of networks."""
