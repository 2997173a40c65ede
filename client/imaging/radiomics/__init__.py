"""PyRadiomics' features, value for value, with its slow inner parts replaced by equal ones.

Each replacement is a module of its own and has the original beside it in its test. What PyRadiomics
is known to do otherwise than its documentation or IBSI says is kept: docs/radiomics.md lists it.
"""

from __future__ import annotations

from typing import Literal

Engine = Literal["fast", "pyradiomics"]
"""Code that computes the features: this package, or the untouched library."""
