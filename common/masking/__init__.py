"""Secure aggregation: pairwise masks that cancel in ring sums, exact in any order."""

# with two sites, each could subtract its own numbers from the sum
FEWEST = 3
