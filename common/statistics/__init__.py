"""Additive statistics: sums over a site's rows, and their results over all sites."""
