"""Duals by quadrature with an estimate of the error: along one axis for every point, or in a plane for every pair."""

import equinox as eqx
import numpy as np

from jaxlimit._arguments import positive_number, require
from jaxlimit._numerics import UNIT, gaussian_trapezoid
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation
from jaxlimit.initial import AbstractLaw, Coordinates
from jaxlimit.kernels._rules import AbstractRule, Block, Duals, both_coordinates, pairs_of
from jaxlimit.kernels._series import CUT, REFINEMENT, Series, series, summed

POINTS = 128
"""Points whose series are made together, with terms enough for the longest of them; blocks are cut along them."""

CHUNK, LARGEST_GRID = 2**18, 2**31
"""Values of σ at once, which fit in the caches, and for one pair, which take about a minute."""

ASSUMED = "entry errors of Quadrature are estimates (last change of the refined rule), not bounds"


class Quadrature(AbstractRule):
    """Trapezoid rule, the step refined until three results agree: for a series in the correlation, or in the plane.

    With z standard normal and h_k orthonormal Hermite polynomials, E σ(w·x)σ(w·x') = Σ_k f_k f'_k cos^k θ,
    f_k = E σ(|x| s z)h_k(z): as many integrals as points and terms, then one series for every pair. What
    its last terms leave out is bounded by Parseval's identity. Pairs of long and nearly parallel points need
    more terms than can be had; they are integrated in the plane, u = |x| s z_1 and
    u' = |x'| s (cos θ z_1 + sin θ z_2), many thousand times slower.

    The trapezoid rule converges geometrically for σ analytic near the real axis; its step shrinks like
    1/max(1, s|x|), because a fixed degree fails as |x| grows. The reported error of an entry rests on the
    larger of the last two changes, an estimate of an earlier result's error and therefore generous; it
    stays an estimate, and certificates name it as such. Needs w ~ N(0, s² I) or N(0, S). `tolerance` is absolute.
    Raises ``ValueError`` for a kinked σ (whose duals need a closed form) and when the tolerance is not
    reached or would take more than a minute for a pair. Source: references `trapezoid`, `mehler`.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
        >>> round(float(jl.gram(network, np.eye(2), rule=jl.kernels.Quadrature()).value[0, 0]), 10)
        0.5490954579
    """

    tolerance: float = eqx.field(static=True, default=1e-12)

    def __check_init__(self) -> None:
        """The tolerance must be positive."""
        positive_number("tolerance", self.tolerance)

    def prepare(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Block:
        """Series for every point; the returned function sums them, and integrates in the plane what they miss."""
        require(activation.smooth is not False, "rule", "be ClosedForm() for a kinked activation", "it is Quadrature()")
        points = both_coordinates(law, x, x2)
        expanded = [self._expanded(activation, points[0])]
        expanded.append(expanded[0] if x2 is x else self._expanded(activation, points[1]))

        def block(rows: slice, columns: slice) -> Duals:
            pair = pairs_of(*points, rows, columns)
            cosine = np.cos(pair.theta)
            results = np.zeros((4, *cosine.shape))
            results[2:] = np.inf
            ours, theirs = (all_[part.start // POINTS] for all_, part in zip(expanded, (rows, columns), strict=True))
            if ours is not None and theirs is not None:
                for row, (left, right) in enumerate(zip(ours, theirs, strict=True)):
                    results[row], results[row + 2] = summed(left, right, cosine, self.tolerance)
            missed = np.any(results[2:] > self.tolerance * (1.0 + np.abs(results[:2])), axis=0)
            if x2 is x and rows == columns:
                missed = np.triu(missed)
                # What lies below the diagonal is not looked at: zeros there, and not ∞·0 where points are orthogonal.
                results[:, np.tri(len(missed), k=-1, dtype=bool)] = 0.0
            if missed.any():
                ends = [np.broadcast_to(np.sqrt(v), cosine.shape)[missed] for v in (pair.a, pair.b)]
                geometry = np.stack([*ends, cosine[missed], pair.sine[missed]])
                results[:, missed] = self._in_the_plane(activation, geometry)
            # What is wrong with a, b and θ moves an entry by about as much, times the length of its points.
            results[2:] += pair.relative * (1.0 + np.sqrt(pair.a) + np.sqrt(pair.b)) * (1.0 + np.abs(results[:2]))
            value, derivative, value_error, derivative_error = results
            return Duals(value, derivative, value_error, derivative_error, (ASSUMED,))

        return block

    def _expanded(self, activation: AbstractActivation, points: Coordinates) -> list[tuple[Series, Series] | None]:
        """The series of σ and σ' for each POINTS points; None for points that are too long for a series."""
        norms = points.std * np.linalg.norm(points.z, axis=1)
        functions = (activation.on_host, activation.derivative_on_host)
        # An odd σ has odd terms only, and its slope has even ones.
        degrees = [(1, 2), (0, 2)] if activation.odd else [(0, 1), (0, 1)]
        found: list[tuple[Series, Series] | None] = []
        for start in range(0, len(norms), POINTS):
            part = norms[start : start + POINTS]
            value, slope = (
                series(function, part, self.tolerance, *degree)
                for function, degree in zip(functions, degrees, strict=True)
            )
            found.append(None if value is None or slope is None else (value, slope))
        return found

    def _in_the_plane(self, activation: AbstractActivation, geometry: Host) -> Host:
        """Pairs are grouped by the steps they need: a long vector slows no other, and small angles need few z_2."""
        results = np.empty_like(geometry)
        longest = np.maximum(geometry[0], geometry[1])
        levels = np.ceil(np.log2(np.maximum(1.0, [longest, geometry[1] * geometry[3]]))).astype(int)
        for pair in np.unique(levels, axis=1).T:
            members = np.flatnonzero(np.all(levels == pair[:, None], axis=0))
            results[:, members] = self._refined(activation, geometry[:, members], 0.5 / 2.0**pair)
        return results

    def _refined(self, activation: AbstractActivation, geometry: Host, steps: Host) -> Host:
        coarse = _trapezoid(activation, geometry, steps)
        before = np.full_like(coarse, np.inf)
        for _ in range(8):
            steps = steps / REFINEMENT
            fine = _trapezoid(activation, geometry, steps)
            last = np.abs(fine - coarse)
            change, before = np.maximum(last, before), last
            # Sums of positive weights times O(|σ|²) terms round at a few units of the largest term.
            scale = 1.0 + np.abs(fine)
            if bool(np.all(change <= self.tolerance * scale)):
                return np.concatenate([fine, change + 64 * UNIT * scale])
            coarse = fine
        largest = float(np.max(geometry[:2]))
        raise ValueError(
            f"Argument `rule` must reach its tolerance {self.tolerance:g}, but entries still change by "
            f"{float(np.max(change)):.1e} at norm {largest:.3g}: rescale the inputs or raise `tolerance`."
        )


def _trapezoid(activation: AbstractActivation, geometry: Host, steps: Host) -> Host:
    """E σσ' and E σ̇σ̇' [2, pairs] on the grid of z_1 and z_2, in parts that fit in the caches."""
    # Powers of u weigh what lies far out; beyond 12.5 standard deviations even u⁴⁰ has nothing left.
    cut = 8.5 if activation.bounded else CUT
    (z, weights), (inner, inner_weights) = (gaussian_trapezoid(float(step), cut) for step in steps)
    if z.size * inner.size > LARGEST_GRID:
        raise ValueError(
            f"Argument `rule` must need at most {LARGEST_GRID:g} values for a pair, but it needs "
            f"{z.size * inner.size:.1g} at norm {np.max(geometry[:2]):.3g}: rescale the inputs."
        )
    out = np.zeros((2, geometry.shape[1]))
    rows = max(1, CHUNK // inner.size)
    pairs_at_once = max(1, rows // z.size)
    functions = (activation.on_host, activation.derivative_on_host)
    for first in range(0, geometry.shape[1], pairs_at_once):
        left, right, cosine, sine = geometry[:, first : first + pairs_at_once, None]
        across = (right * sine * inner)[:, None, :]
        for row in range(0, z.size, rows):
            part, mass = z[row : row + rows], weights[row : row + rows]
            u, v = left * part, (right * cosine * part)[:, :, None] + across
            for number, function in enumerate(functions):
                means = function(v) @ inner_weights
                out[number, first : first + pairs_at_once] += (function(u) * means) @ mass
    return out
