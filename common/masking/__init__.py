"""Secure aggregation: sums in a ring that no order and no mask can change."""
