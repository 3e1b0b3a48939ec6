"""Reasons in the data why the exact kernel matrix is singular, decided in exact arithmetic."""

import math

import numpy as np

from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation

LISTED = 8
"""Reasons of one kind that are spelt out; of more than that only the number is told."""

INDEPENDENT = 1e-8
"""Unit vectors whose smallest singular value is above this are linearly independent, whatever rounding did."""

EXACT = 2**16
"""Operations that exact elimination may take: half a second."""


def singularities(
    activation: AbstractActivation, x: Host, train_output: bool = True, atomless: bool = True
) -> tuple[str, ...]:
    """What makes features σ(w·x) and c σ'(w·x)x of points linearly dependent, in words.

    x_i = x_j repeats a feature; for homogeneous σ so does x_i = r x_j with r > 0 (features scale by
    r), and for odd or even σ x_i = −x_j (features change sign, or not at all). Several pairs of opposite points
    are dependent where a part of σ is simple: see `_mirrored`. Where the output layer is not trained only
    c σ'(w·x)x counts: it vanishes at the origin, and changes sign with x wherever σ' is even. Features of
    polynomial σ are polynomials in x, so more points than monomials are dependent.

    What is said of opposite points takes σ' from the symmetry of σ, which says nothing of σ' at a kink: there it is a
    convention (σ'(0) + σ'(−0) = 0 for the rectifier, and 1 elsewhere). Without `atomless` laws of w, for which w·x is
    at a kink with probability zero for every x ≠ 0, it is said of smooth σ alone.

    Points that are the same, or on one ray, are reported once, and at most `LISTED` reasons of a kind. An empty tuple
    promises nothing.
    """
    groups: dict[bytes, list[int]] = {}
    for i, row in enumerate(x + 0.0):  # −0 becomes 0
        groups.setdefault(row.tobytes(), []).append(i)
    zeros = groups.get(np.zeros(x.shape[1]).tobytes(), [])
    first = [members[0] for members in groups.values() if members is not zeros]
    mirrored = (groups.get(row.tobytes(), [-1])[0] for row in 0.0 - x[first])
    opposite = [(i, j) for i, j in zip(first, mirrored, strict=True) if i < j]
    found = _listed([f"{_few(members)} are equal" for members in groups.values() if len(members) > 1])
    if activation.homogeneous:
        rays = _rays(x, first)
        found += _listed([f"{_few(members)} are parallel and the activation is homogeneous" for members in rays])
    if atomless or activation.smooth:
        found += _of_opposites(activation, x, opposite, zeros, train_output)
    if zeros and (activation.odd or activation.homogeneous or not train_output):  # every feature of the origin vanishes
        found.append(f"point {zeros[0]} is zero")
    monomials = activation.monomials(x.shape[1])
    if monomials is not None and len(x) > monomials:
        found.append(
            f"{len(x)} points exceed the {monomials} monomials that span the features of a polynomial activation"
        )
    return tuple(found)


def _listed(reasons: list[str]) -> list[str]:
    """The first few, and how many more there are."""
    more = len(reasons) - LISTED
    return reasons if more <= 1 else [*reasons[:LISTED], f"{more} more reasons like this"]


def _few(members: list[int]) -> str:
    more = f" and {len(members) - 2} more" if len(members) > 2 else ""
    return f"points {members[0]} and {members[1]}{more}"


def _of_opposites(
    activation: AbstractActivation, x: Host, opposite: list[tuple[int, int]], zeros: list[int], train_output: bool
) -> list[str]:
    """Why opposite points are dependent, by symmetries of σ that σ' shares."""
    if activation.odd or activation.even or (activation.constant_even_part and not train_output):
        parity = "odd" if activation.odd else "even" if activation.even else "odd up to a constant that does not learn"
        return _listed([f"points {i} and {j} are opposite and the activation is {parity}" for i, j in opposite])
    return _mirrored(activation, x, opposite, zeros)


def _mirrored(activation: AbstractActivation, x: Host, opposite: list[tuple[int, int]], zeros: list[int]) -> list[str]:
    """Why pairs of opposite points, no point in two of them, are dependent together though no pair is so alone.

    If σ(u) + σ(−u) = 2σ(0), then σ' is even and the features of x and −x add up to (2σ(0), 0), whatever x is:
    two pairs have one sum, and so have a pair and twice the origin. If σ(u) − σ(−u) = su, then
    σ'(u) + σ'(−u) = s and the features of x less those of −x are s(w·x, c x), linear in x: more pairs than
    the rank of their points are dependent.
    """
    found = []
    if activation.constant_even_part and opposite:
        (i, j), *others = opposite
        found += [f"points {i} and {j} are opposite, so are points {k} and {m}" for k, m in others]
        found += [f"points {i} and {j} are opposite, point {k} is zero" for k in zeros[:1]]
        found = _listed([f"{reason}, and the even part of the activation is constant" for reason in found])
    if activation.linear_odd_part and opposite:
        inputs, rank = x.shape[1], _rank(x[[i for i, _ in opposite]])
        if len(opposite) > rank:
            room = f"{inputs} inputs" if len(opposite) > inputs else f"{rank} dimensions that they span"
            found.append(
                f"{len(opposite)} pairs of opposite points exceed the {room}, "
                "and the odd part of the activation is linear"
            )
    return found


def _rays(x: Host, points: list[int]) -> list[list[int]]:
    """Which of these points, none of them zero, have another one on their ray from the origin.

    A projection of the directions shows who may: parallel points are as close there as rounding leaves them, and
    points in general position are not. Those few are decided exactly.
    """
    if len(points) < 2:
        return []
    g = np.random.default_rng(0).standard_normal(x.shape[1])
    place = x[points] @ g / np.linalg.norm(x[points], axis=1)
    order = np.argsort(place)
    # A norm and a product are off by (3d/2 + 3) roundings at most; twice that for two points, and room.
    near = np.diff(place[order]) <= (4 * x.shape[1] + 64) * UNIT * float(np.linalg.norm(g))
    candidates = order[np.append(near, False) | np.append(False, near)]
    rays: dict[tuple[int, ...], list[int]] = {}
    for k in np.sort(candidates).tolist():
        rays.setdefault(_direction(x[points[k]]), []).append(points[k])
    return [members for members in rays.values() if len(members) > 1]


def _direction(point: Host) -> tuple[int, ...]:
    """The shortest vector of whole numbers on the ray of a point, exactly; equal for parallel points alone."""
    ratios = [value.as_integer_ratio() for value in point.tolist()]
    common = max(below for _, below in ratios)  # they are powers of two
    return _shortest([above * (common // below) for above, below in ratios])


def _shortest(whole: list[int]) -> tuple[int, ...]:
    divisor = math.gcd(*whole) or 1
    return tuple(value // divisor for value in whole)


def _rank(points: Host) -> int:
    """An upper bound of the rank of points that are not zero: the rank itself, unless that would take long to know."""
    count, inputs = points.shape
    if count > inputs:
        return inputs
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    if np.linalg.svd(unit, compute_uv=False)[-1] > INDEPENDENT or count**2 * inputs > EXACT:
        return count
    rows, rank = [_direction(point) for point in points], 0
    for column in range(inputs):
        pivot = next((row for row in rows if row[column]), None)
        if pivot is None:
            continue
        rank, top = rank + 1, pivot[column]
        rows = [
            _shortest([a * top - row[column] * b for a, b in zip(row, pivot, strict=True)])
            for row in rows
            if row is not pivot
        ]
    return rank
