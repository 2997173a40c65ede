"""The normal distribution's quantile of two-sided 95 % intervals."""

from __future__ import annotations

# written down, as working it out loads scipy.stats, which every command would wait for
Z_95 = 1.959963984540054
"""`scipy.stats.norm.ppf(0.975)`"""
