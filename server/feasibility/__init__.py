"""Feasibility of a study: what the checks of its hospitals say about it together."""
