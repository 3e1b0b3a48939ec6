"""What the limits that diffrax solves share: how finely, by which solver, and what is said where it gives up."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import instance, positive_number, require

FINER = 100.0
"""A second solve, with which the first is compared, has a tolerance this many times smaller."""

X64 = " (float64 needs JAX_ENABLE_X64=1)"
"""What may give a second solve room."""


def chosen_tolerance(tolerance: float | None, dtype: np.dtype) -> float:
    """The tolerance given, or 1e-5 in float32 and 1e-9 in float64."""
    default = 1e-9 if dtype == np.float64 else 1e-5
    found = default if tolerance is None else positive_number("tolerance", tolerance)
    require(found < 1, "tolerance", "lie between 0 and 1", f"it is {found:g}")
    return found


def chosen_solver(solver: diffrax.AbstractSolver | None) -> diffrax.AbstractSolver:
    """The diffrax solver given, or Tsit5."""
    chosen = diffrax.Tsit5() if solver is None else solver
    return instance("solver", chosen, diffrax.AbstractSolver, "be a diffrax solver")


def widest(dtype: np.dtype) -> np.dtype:
    """The precision of a second solve: float64 where the x64 flag is set, else this one."""
    return np.dtype(np.float64) if jax.config.read("jax_enable_x64") else dtype


def finer_tolerance(tolerance: float, dtype: np.dtype, hint: str = "") -> float:
    """FINER times smaller, but at least 10 units of `dtype`; ValueError, with a hint, where there is no room."""
    finer = max(tolerance / FINER, 10 * float(np.finfo(dtype).eps))
    room = f"exceed {finer:.1e} for a finer solve to compare with{hint}"
    require(finer < tolerance, "tolerance", room, f"it is {tolerance:g}")
    return finer


def integrate(
    field: Callable[[Any, Any, Any], Any],
    start: Any,
    ts: Float[Array, " times"],
    solver: diffrax.AbstractSolver,
    controller: diffrax.PIDController,
    max_steps: int,
    saved: Callable[[Any, Any, Any], Any] = lambda t, state, args: state,
) -> tuple[Any, Array, Array]:
    """What `saved` makes of the state at each time, whether the solver finished, and its steps; inside `jax.jit`."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        t0=jnp.zeros((), ts.dtype),
        # A positive end even when only t = 0 is asked for; saved values do not depend on it.
        t1=jnp.maximum(ts[-1], jnp.finfo(ts.dtype).eps),
        dt0=None,
        y0=start,
        saveat=diffrax.SaveAt(ts=ts, fn=saved),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )
    return solution.ys, solution.result == diffrax.RESULTS.successful, solution.stats["num_steps"]


def require_finished(finished: Any, t: float, solver: diffrax.AbstractSolver, tolerance: float, max_steps: int) -> None:
    """Raise ``RuntimeError`` where the solver gave up on a path, saying on how many where there are several."""
    done = np.asarray(finished)
    failed = int(np.sum(~done))
    if failed:
        paths = f" on {failed} of {done.size} paths" if done.ndim else ""
        raise RuntimeError(
            f"The solver gave up{paths} before t = {t:g}: raise `max_steps` (now {max_steps}) or `tolerance` "
            f"(now {tolerance:g}), or choose another `solver` (now {type(solver).__name__})."
        )
