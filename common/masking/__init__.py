"""Secure aggregation: sums in a ring that no order and no mask can change."""

# of two sites each could take its own numbers off the sum
FEWEST = 3
