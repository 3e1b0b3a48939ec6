"""Gram matrices of the Xavier limit on the host, in float64, with an error for every entry."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jaxlimit._arguments import instance, real_array, require
from jaxlimit._devices import cores
from jaxlimit._numerics import UNIT, symmetrised
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.initial import AbstractLaw
from jaxlimit.kernels._quadrature import POINTS
from jaxlimit.kernels._rules import AbstractRule, Block, rule_for
from jaxlimit.kernels._structure import singularities
from jaxlimit.kernels._types import Gram
from jaxlimit.networks import AbstractNetwork, Shallow

SMALLEST_NORM, LARGEST_NORM = 1e-50, 1e50

SIDE = POINTS
"""Rows and columns of a block: its temporaries stay in the second-level cache."""

Entries = tuple[Host, Host, Host | None, tuple[str, ...]]
"""Values, radii, variances of random estimates and assumptions of a block."""


def gram(network: AbstractNetwork, x: ArrayLike, x2: ArrayLike | None = None, rule: AbstractRule | None = None) -> Gram:
    """The kernel B of the limit on rows of x [points, inputs] and x2 (x itself if None).

    B(x, x') = E σ(w·x)σ(w·x') + E[c²] E σ'(w·x)σ'(w·x') x·x'; the first term is missing when the output
    layer is not trained. The result carries an error for every entry: a derived bound for closed forms, an
    estimate for quadrature, a standard error for Monte Carlo. `rule=None` takes the closed form if there is
    one and raises ``ValueError`` otherwise. Source: references `xavier`.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> round(float(jl.gram(network, np.array([[1.0, 0.0]])).value[0, 0]), 12)
        0.654362399309
    """
    shallow, first, second, block = _prepared(network, x, x2, rule)
    return _assembled(shallow, first, second, _entries(shallow, first, second, block), shallow.train_output)


def row_blocks(
    network: AbstractNetwork, x: ArrayLike, rule: AbstractRule | None = None
) -> Callable[[slice, int], Gram]:
    """(rows, columns) ↦ these rows of `gram(network, x, rule=rule)` and its first columns, the rule prepared once.

    Rows begin at a multiple of SIDE.
    """
    shallow, points, _, block = _prepared(network, x, None, rule)
    entries = _entries(shallow, points, points, block)

    def part(rows: slice, columns: int) -> Gram:
        return _filled(entries, range(rows.start, rows.stop), range(columns), symmetric=True, mirrored=False)

    return part


def _entries(shallow: Shallow, first: Host, second: Host, block: Block) -> Callable[[slice, slice], Entries]:
    """Blocks of B, from those of the duals."""
    variance = shallow.initial.c.second_moment
    rounding = 1.01 * (first.shape[1] + 8) * UNIT

    def entries(rows: slice, columns: slice) -> Entries:
        p, q, duals = first[rows], second[columns], block(rows, columns)
        inner = p @ q.T
        # |fl(x·x') − x·x'| ≤ d u |x||x'|, and every product and sum below rounds once.
        norms = np.linalg.norm(p, axis=1)[:, None] * np.linalg.norm(q, axis=1)[None, :]
        value = variance * duals.derivative * inner
        radius = variance * (
            np.abs(inner) * duals.derivative_error
            + rounding * norms * (np.abs(duals.derivative) + duals.derivative_error)
        )
        spread = None
        if duals.derivative_variance is not None:
            spread = (variance * inner) ** 2 * duals.derivative_variance
        if shallow.train_output:
            value = value + duals.value
            radius = radius + duals.value_error + 2 * UNIT * np.abs(value)
            if spread is not None:
                spread = spread + duals.value_variance + 2.0 * variance * inner * duals.covariance
        return value, radius, spread, duals.assumptions

    return entries


def initial_covariance(
    network: AbstractNetwork, x: ArrayLike, x2: ArrayLike | None = None, rule: AbstractRule | None = None
) -> Gram:
    """Covariance Σ(x, x') = E[c²] E σ(w·x)σ(w·x') of the Gaussian start h_0, with the same errors as `gram`.

    Meant for E c = 0; with another mean, h_0 has no limit for γ < 1. Source: references `xavier`.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Relu(), jl.Initial(c=jl.initial.Rademacher()))
        >>> round(float(jl.kernels.initial_covariance(network, np.array([[2.0, 0.0]])).value[0, 0]), 12)
        2.0
    """
    shallow, first, second, block = _prepared(network, x, x2, rule)
    variance = shallow.initial.c.second_moment

    def entries(rows: slice, columns: slice) -> Entries:
        duals = block(rows, columns)
        value = variance * duals.value
        spread = None if duals.value_variance is None else variance**2 * duals.value_variance
        return value, variance * duals.value_error + 4 * UNIT * np.abs(value), spread, duals.assumptions

    # What holds of both features holds of σ(w·x) alone; what holds of the slopes alone need not.
    return _assembled(shallow, first, second, entries, train_output=True)


def _prepared(
    network: AbstractNetwork, x: ArrayLike, x2: ArrayLike | None, rule: AbstractRule | None
) -> tuple[Shallow, Host, Host, Block]:
    shallow = instance("network", network, Shallow)
    first = real_array("x", x, 2)
    second = first if x2 is None else real_array("x2", x2, 2)
    inputs = first.shape[1]
    require(second.shape[1] == inputs, "x2", f"have {inputs} inputs like x", f"it has {second.shape[1]}")
    shallow.initial.require_inputs(inputs)
    shallow.initial.require_same_at_every_width()
    law, activation = shallow.initial.w, shallow.activation
    chosen = rule_for(activation, law, rule)
    _require_range("x", first, law)
    if second is not first:
        _require_range("x2", second, law)
    return shallow, first, second, chosen.prepare(activation, law, first, second)


def _require_range(name: str, x: Host, law: AbstractLaw) -> None:
    """Fourth powers of |x| and of √Var(w·x) must neither underflow nor overflow: the error bounds are relative ones."""
    with np.errstate(over="ignore"):  # infinite is too large all the same
        norms = np.linalg.norm(x, axis=1)
        scaled = law.deviations(x)
        for sizes, what in ((norms, "norm"), (scaled, "norm times the standard deviation of w")):
            outside = (x != 0).any(axis=1) & ~((sizes >= SMALLEST_NORM) & (sizes <= LARGEST_NORM))
            require(
                not bool(outside.any()),
                name,
                f"have points that are zero or of {what} between {SMALLEST_NORM:g} and {LARGEST_NORM:g}",
                f"at point {int(np.argmax(outside))} it is {sizes[np.argmax(outside)]:.3g}",
            )


def _assembled(
    network: Shallow, x: Host, x2: Host, entries: Callable[[slice, slice], Entries], train_output: bool
) -> Gram:
    """With one set of points only the upper triangle is computed, and mirrored; the exact matrix is one of features."""
    square = x2 is x
    found = _filled(entries, range(len(x)), range(len(x2)), symmetric=square, mirrored=square)
    atomless = network.initial.w.atomless
    singular = singularities(network.activation, x, train_output, atomless) if square else ()
    return Gram(found.value, found.radius, found.standard_error, found.assumptions, singular, square)


def _filled(
    entries: Callable[[slice, slice], Entries], rows: range, columns: range, symmetric: bool, mirrored: bool
) -> Gram:
    """All blocks on all cores: a block fits in the caches, where a formula over whole matrices would not."""
    shape = len(rows), len(columns)
    value, radius, spread = np.empty(shape), np.empty(shape), np.zeros(shape)

    def fill(corner: tuple[int, int]) -> tuple[bool, tuple[str, ...]]:
        i, j = corner
        left, right = slice(i, min(i + SIDE, rows.stop)), slice(j, min(j + SIDE, columns.stop))
        *found, assumptions = entries(left, right)
        here = slice(i - rows.start, left.stop - rows.start)
        for whole, part in zip((value, radius, spread), found, strict=True):
            if part is None:
                continue
            # Rules may leave the lower triangle of points with themselves out.
            whole[here, right] = symmetrised(part) if symmetric and left == right else part
            if mirrored and left != right:
                whole[right, here] = part.T
        return found[2] is not None, assumptions

    corners = [(i, j) for i in rows[::SIDE] for j in columns[i if mirrored else 0 :: SIDE]]
    if len(corners) == 1:
        random, assumptions = fill(corners[0])
    else:
        with ThreadPoolExecutor(cores(), thread_name_prefix="gram") as pool:
            (random, assumptions), *_ = pool.map(fill, corners)
    return Gram(value, radius, np.sqrt(np.maximum(spread, 0.0)) if random else None, assumptions)
