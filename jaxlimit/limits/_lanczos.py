"""Lanczos' method for e^{−St}v and φ_t(S)v, several starts at once, with a bound of its error."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxlimit._numerics import UNIT, decay_integral
from jaxlimit._typing import Host

CHECK = 5
"""Dimensions between two looks at the error."""
BREAKDOWN = 1e-13
"""A new direction shorter than this share of the largest is rounding: the space is invariant."""


class Actions(NamedTuple):
    """e^{−St}v and φ_t(S)v for every start, the bound of the first's error, and the dimension it took.

    The error of φ_t(S)v is at most t times that of e^{−St}v.
    """

    decay: Float[Host, "times n starts"]
    integral: Float[Host, "times n starts"]
    bound: Float[Host, "times starts"]
    dimension: Int[Host, " starts"]


def exponential_actions(
    product: Callable[[Host], Host], starts: Float[Host, "n starts"], ts: Host, tolerance: float, limit: int
) -> Actions | None:
    """All actions to within `tolerance` times |v|, for symmetric S ⪰ 0 given by its products; None beyond `limit`.

    In the Krylov space with orthonormal V_k and S V_k = V_k T_k + β_k q e_kᵀ, e^{−St}v ≈ |v| V_k e^{−T_k t} e_1. The
    error solves e' = −Se − residual and S ⪰ 0, so |e(t)| ≤ |v| β_k ∫_0^t |e_kᵀ e^{−T_k s} e_1| ds. The integrand does
    not change its sign (the off-diagonal of T_k is positive), so the integral is |e_kᵀ φ_t(T_k) e_1|: computed, not
    estimated. What is returned as the bound allows for rounding besides, by 8u(k + λ_max t)|v|.
    """
    size = len(starts)
    norms = np.linalg.norm(starts, axis=0)
    v = starts / np.where(norms > 0, norms, 1.0)
    space, diagonal, beside = [v], [], []
    latest, ended = float(ts[-1]), norms == 0
    lengths, largest = np.where(ended, 1, 0), 0.0
    for k in range(1, min(limit, size) + 1):
        w = product(space[-1])
        diagonal.append(np.einsum("ns,ns->s", space[-1], w))
        basis = np.stack(space)
        # Twice is enough: without it the vectors lose their orthogonality and Ritz values repeat.
        for _ in range(2):
            w -= np.einsum("kns,ks->ns", basis, np.einsum("kns,ns->ks", basis, w, optimize=True), optimize=True)
        norm = np.linalg.norm(w, axis=0)
        largest = max(largest, float(np.max(norm)), float(np.max(np.abs(diagonal[-1]))))
        found = norm > BREAKDOWN * largest
        # What breaks down is small, and counts in the bound all the same.
        beside.append(np.where(lengths == 0, norm, 0.0))
        lengths = np.where((lengths == 0) & ~found, k, lengths)
        if k % CHECK == 0 or k == size or bool(np.all(lengths)):
            for s in np.flatnonzero(lengths == 0):
                if _bound(*_tridiagonal(diagonal, beside, int(s)), latest, beside[-1][s]) <= tolerance:
                    lengths[s] = k
            if k == size:
                lengths = np.where(lengths == 0, k, lengths)
            if bool(np.all(lengths)):
                return _assembled(np.stack(space), diagonal, beside, lengths, norms, ts)
        space.append(w / np.where(found, norm, 1.0))
    return None


def _tridiagonal(diagonal: list[Host], beside: list[Host], start: int, length: int | None = None) -> tuple[Host, Host]:
    k = len(diagonal) if length is None else length
    t = np.diag([float(d[start]) for d in diagonal[:k]])
    off = np.array([float(b[start]) for b in beside[: k - 1]])
    values, vectors = np.linalg.eigh(t + np.diag(off, 1) + np.diag(off, -1))
    return values, vectors


def _bound(values: Host, vectors: Host, t: float | Host, beta: float) -> Host:
    """β_k |e_kᵀ φ_t(T_k) e_1|."""
    integral = decay_integral(np.maximum(values, 0.0), np.asarray(t, np.float64)[..., None])
    return beta * np.abs((integral * vectors[0]) @ vectors[-1])


def _assembled(basis: Host, diagonal: list[Host], beside: list[Host], lengths: Host, norms: Host, ts: Host) -> Actions:
    shape = (ts.size, basis.shape[1], norms.size)
    decay, integral, bound = np.empty(shape), np.empty(shape), np.empty((ts.size, norms.size))
    for s, length in enumerate(lengths):
        values, vectors = _tridiagonal(diagonal, beside, s, int(length))
        values = np.maximum(values, 0.0)  # S ⪰ 0: below zero is rounding
        back = norms[s] * (basis[:length, :, s].T @ vectors)
        decay[:, :, s] = (np.exp(-np.outer(ts, values)) * vectors[0]) @ back.T
        integral[:, :, s] = (decay_integral(values, ts[:, None]) * vectors[0]) @ back.T
        rounding = 8 * UNIT * (length + values[-1] * ts)
        bound[:, s] = norms[s] * (_bound(values, vectors, ts, float(beside[length - 1][s])) + rounding)
    return Actions(decay, integral, bound, lengths)
