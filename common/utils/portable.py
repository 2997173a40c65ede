"""Arithmetic that gives the same bits on every machine.

Sites run the study's program themselves and compare each question with the coordinator's, bit by
bit. Additions, multiplications, divisions and square roots of doubles are rounded alike everywhere
(IEEE 754); the elementary functions of a C library, products of matrices (BLAS) and fused
operations are not. Whatever a question depends on is computed from the former alone, one operation
after another in an order that is fixed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

# written down, as working it out loads scipy.stats, which every command would wait for
Z_95 = 1.959963984540054
"""`scipy.stats.norm.ppf(0.975)`"""


Float = NDArray[np.float64]

PI: Final = 3.141592653589793
_LN2: Final = 0.6931471805599453
# log 2 in two parts: the first has 21 zero bits at its end, so multiples of it are exact
_LN2_HIGH: Final = 0.693147180369123816490
_LN2_LOW: Final = 1.90821492927058770002e-10
# beyond these e^x is infinite or zero
_LARGEST_EXPONENT, _LEAST_EXPONENT = 710.0, -746.0
_DIGITS = Context(prec=50)


def dot(first: Float, second: Float) -> float:
    """Return the inner product of two vectors (n,)."""
    return float(np.add.reduce(np.multiply(first, second)))


def norm(vector: NDArray[np.floating]) -> float:
    """Return the Euclidean length of a vector (n,).

    >>> norm(np.array([3.0, -4.0]))
    5.0
    """
    doubles = vector.astype(np.float64, copy=False)
    return math.sqrt(dot(doubles, doubles))


def product(first: Float, second: Float) -> Float:
    """Return the product of a matrix (m, n) with a matrix (n, k) or a vector (n,).

    >>> product(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, -1.0]))
    array([-1., -1.])
    """
    if second.ndim == 1:
        # the order of a sum follows the layout of its addends
        return np.asarray(np.add.reduce(np.multiply(first, second, order="C"), axis=1))
    total = np.zeros((first.shape[0], second.shape[1]))
    for column, row in zip(first.T, second, strict=True):
        total += column[:, None] * row
    return total


def interpolate(x: Float, places: Float, values: Float) -> Float:
    """Interpolate linearly, as `numpy.interp` does without fused operations.

    Parameters
    ----------
    x : (n,). places : (k,), not decreasing. values : (k,), of the places.

    >>> interpolate(np.array([-1.0, 0.5, 9.0]), np.array([0.0, 1.0]), np.array([2.0, 4.0]))
    array([2., 3., 4.])
    """
    if places.size == 1:
        return np.where(np.isnan(x), x, values[0])
    left = np.clip(np.searchsorted(places, x, side="right") - 1, 0, places.size - 2)
    start, begin = places[left], values[left]
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (values[left + 1] - begin) / (places[left + 1] - start)
        found = slope * (x - start) + begin
    found = np.where(x == start, begin, found)
    found = np.where(x < places[0], values[0], found)
    return np.where(x >= places[-1], values[-1], found)


def exp(x: Float) -> Float:
    """Return e^x, within two units in the last place."""
    bounded = np.clip(np.nan_to_num(x), _LEAST_EXPONENT, _LARGEST_EXPONENT)
    power = np.rint(bounded / _LN2)
    rest = (bounded - power * _LN2_HIGH) - power * _LN2_LOW
    with np.errstate(under="ignore", over="ignore"):
        found = np.ldexp(_horner(_EXPONENTIAL, rest), power.astype(np.int64))
    return np.where(np.isnan(x), x, found)


def expm1(x: Float) -> Float:
    """Return e^x - 1, also exact to a few units in the last place near zero."""
    small = np.clip(x, -_LN2, _LN2)
    return np.where(np.abs(x) < _LN2 / 2, small * _horner(_EXPONENTIAL[:-1], small), exp(x) - 1.0)


def log(x: Float) -> Float:
    """Return the natural logarithm of positive numbers, within two units in the last place."""
    fraction, power = np.frexp(x)
    low = fraction < 0.7071067811865476
    fraction, power = np.where(low, 2.0 * fraction, fraction), power - low
    ratio = (fraction - 1.0) / (fraction + 1.0)
    series = 2.0 * ratio * _horner(_INVERSE_TANGENT, ratio * ratio)
    return np.asarray(power * _LN2_HIGH + (series + power * _LN2_LOW))


def arcsin(x: Float) -> Float:
    """Return the arcus sine of numbers from -1/2 to 1/2, within two units in the last place."""
    square = x * x
    return x + x * (square * _horner(_ARCSIN_TOP, square) / _horner(_ARCSIN_BOTTOM, square))


def half_cosine(share: float) -> float:
    """Return the cosine of pi times a share from 0 to 1.

    >>> half_cosine(0.0), half_cosine(0.5), half_cosine(1.0)
    (1.0, 0.0, -1.0)
    """
    if share > 0.5:
        return -half_cosine(1.0 - share)
    if share <= 0.25:
        angle = PI * share
        return float(_horner(_COSINE, np.array(angle * angle)))
    angle = PI * (0.5 - share)
    return float(angle * _horner(_SINE, np.array(angle * angle)))


def power_of_ten(exponent: float) -> float:
    """Return ten to this power, correctly rounded.

    >>> power_of_ten(-1.0), power_of_ten(0.5)
    (0.1, 3.1622776601683795)
    """
    return float(_DIGITS.power(Decimal(10), Decimal(exponent)))


def powers_of_ten(exponents: Sequence[float] | Float) -> Float:
    """Return ten to each of these powers."""
    return np.array([power_of_ten(float(exponent)) for exponent in exponents])


def normal_quantile(p: Float) -> Float:
    """Return the quantiles of the standard normal distribution, to about 1e-15 of their size.

    Parameters
    ----------
    p : any shape, from 0 to 1; the ends give -infinity and infinity.

    References
    ----------
    Wichura 1988, algorithm AS 241, "The percentage points of the normal distribution".
    """
    centred = p - 0.5
    inner = np.clip(centred, -0.425, 0.425)
    r = 0.180625 - inner * inner
    middle = inner * _horner(_MIDDLE_TOP, r) / _horner(_MIDDLE_BOTTOM, r)
    outside = np.minimum(p, 1.0 - p)
    open_tail = np.clip(outside, 5e-324, 0.5)
    r = np.sqrt(-log(open_tail))
    near, far = np.minimum(r, 5.0) - 1.6, np.maximum(r, 5.0) - 5.0
    tail = np.where(
        r <= 5.0,
        _horner(_TAIL_TOP, near) / _horner(_TAIL_BOTTOM, near),
        _horner(_FAR_TOP, far) / _horner(_FAR_BOTTOM, far),
    )
    tail = np.where(outside <= 0.0, np.inf, tail)
    signed = np.where(centred < 0.0, -tail, tail)
    return np.where(np.abs(centred) <= 0.425, middle, signed)


def _horner(coefficients: Sequence[float], x: Float) -> Float:
    """Return the polynomial with these coefficients, the highest power first."""
    total = np.full(np.shape(x), coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _reciprocal_factorials(numbers: Sequence[int], *, alternating: bool) -> tuple[float, ...]:
    found, factorial, last = [], 1, 0
    for place, number in enumerate(numbers):
        for factor in range(last + 1, number + 1):
            factorial *= factor
        last = number
        found.append((-1 if alternating and place % 2 else 1) / factorial)
    return tuple(reversed(found))


# Taylor series, far enough for the reduced arguments; e^x is 1 + x times the one without its last
_EXPONENTIAL = _reciprocal_factorials(range(16), alternating=False)
_COSINE = _reciprocal_factorials(range(0, 22, 2), alternating=True)
_SINE = _reciprocal_factorials(range(1, 23, 2), alternating=True)
_INVERSE_TANGENT = tuple(1.0 / n for n in range(25, 0, -2))
# rational approximation of (arcsin(x) - x) / x^3 in x^2, Sun Microsystems 1993 (fdlibm, e_asin.c)
_ARCSIN_TOP = (
    3.47933107596021167570e-05,
    7.91534994289814532176e-04,
    -4.00555345006794114027e-02,
    2.01212532134862925881e-01,
    -3.25565818622400915405e-01,
    1.66666666666666657415e-01,
)
_ARCSIN_BOTTOM = (
    7.70381505559019352791e-02,
    -6.88283971605453293030e-01,
    2.02094576023350569471e00,
    -2.40339491173441421878e00,
    1.0,
)
# coefficients of AS 241
_MIDDLE_TOP = (
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.3871328727963666080e0,
)
_MIDDLE_BOTTOM = (
    5.2264952788528545610e3,
    2.8729085735721942674e4,
    3.9307895800092710610e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.8718700749205790830e2,
    4.2313330701600911252e1,
    1.0,
)
_TAIL_TOP = (
    7.74545014278341407640e-4,
    2.27238449892691845833e-2,
    2.41780725177450611770e-1,
    1.27045825245236838258e0,
    3.64784832476320460504e0,
    5.76949722146069140550e0,
    4.63033784615654529590e0,
    1.42343711074968357734e0,
)
_TAIL_BOTTOM = (
    1.05075007164441684324e-9,
    5.47593808499534494600e-4,
    1.51986665636164571966e-2,
    1.48103976427480074590e-1,
    6.89767334985100004550e-1,
    1.67638483018380384940e0,
    2.05319162663775882187e0,
    1.0,
)
_FAR_TOP = (
    2.01033439929228813265e-7,
    2.71155556874348757815e-5,
    1.24266094738807843860e-3,
    2.65321895265761230930e-2,
    2.96560571828504891230e-1,
    1.78482653991729133580e0,
    5.46378491116411436990e0,
    6.65790464350110377720e0,
)
_FAR_BOTTOM = (
    2.04426310338993978564e-15,
    1.42151175831644588870e-7,
    1.84631831751005468180e-5,
    7.86869131145613259100e-4,
    1.48753612908506148525e-2,
    1.36929880922735805310e-1,
    5.99832206555887937690e-1,
    1.0,
)
