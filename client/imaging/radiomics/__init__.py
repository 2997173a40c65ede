"""PyRadiomics' features, value for value, with its slow inner parts replaced by equal ones.

Each replacement is a module of its own and is compared with the original in its test. Known
deviations of PyRadiomics from its documentation or IBSI are kept: docs/radiomics.md lists them.
"""

from __future__ import annotations

from typing import Literal

Engine = Literal["fast", "pyradiomics"]
"""Code that computes the features: this package, or the untouched library."""
