"""SStep: the same chain, many steps at a time, because within a block a wide network is its own linearisation."""

import warnings
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import optional_positive_integer, positive_number, require
from jaxlimit.paths import Samples
from jaxlimit.scalings import PowerScaling
from jaxlimit.simulation import _blocks, _blocks_native, _native
from jaxlimit.simulation._base import AbstractMethod, audited, left_to_xla
from jaxlimit.simulation._control import MARGIN, MOST_SHARING, SHARING, SHORTEST, START, Rule
from jaxlimit.simulation._cost import sstep_seconds
from jaxlimit.simulation._draws import BLOCK
from jaxlimit.simulation._families import family
from jaxlimit.simulation._memory import features, lanes_in_memory, parameters
from jaxlimit.simulation._product import AbstractProduct
from jaxlimit.simulation._state import Chain, Run

FRACTIONS = {1: 1 / 256, 2: 1 / 16}
"""Of N^{2−γ}, the number of steps after which features have moved by O(1): the default block, by order."""

SMALLEST = 1e-30
"""Tolerances below are beyond what lengths are computed in."""

FIRST = 16384
"""Of N^{2−γ}, so many times fewer steps make the first block under a tolerance, or SHORTEST."""

NEURONS, TOGETHER = 65536, 16
"""On CPUs replicas advance one after the other; a lane of several, with so many neurons in all, shares the calls."""

SHORT = 1 / 256
"""Of N^{2−γ}: in a few blocks so short the kernel does not move enough to matter."""

LONGEST = 2**20
"""Steps of the longest block, whose indices are drawn before it begins; the recursion is most of its cost by far."""

ERRORS = 6
"""Arrays of a number for each step of a chunk, sample and point that an accelerator holds while it corrects errors."""

MANY_POINTS = 256
"""With more data points than this the products of XLA are better than those of the native loop."""


def _plain(value: Any) -> Any:
    """A number of NumPy as a number of Python: settings are compared when a program is looked up."""
    return value.item() if isinstance(value, np.generic) else value


class SStep(AbstractMethod):
    """s-step SGD: blocks of steps of the chain in the M outputs, then one move of the parameters.

    Within a block the network is linearised: K is N times its empirical neural tangent kernel.
    With H = σ(Xw) [M, N], D = c σ'(Xw), K = HHᵀ + DDᵀ ⊙ XXᵀ at one moment of a block, step k of the block at
    data index i has the error

        e_k = −∂ℓ/∂g (g_i + d_i, y_i),      d ← d + κ K_{·i} e_k,      κ = α N^{−2},

    and with E_m = Σ_{k: i_k = m} e_k the block moves c by α N^{γ−2} HᵀE and w by α N^{γ−2} Xᵀ(E ⊙ D). The
    samples are those of `Stepwise`, so the two agree path by path, up to the motion of the features within a
    block. A block costs a few matrix products whatever its length: the cost per unit of limit time falls
    from N² towards N. What rounding takes from a parameter is kept and added to its next move, so float32
    blocks are off by their own error and the rounding of the outputs, a few 10⁻⁷; the float32 loop over steps
    loses moves smaller than a rounding unit of w, up to 10⁻³ at γ = 1/2 and N = 16,384 and hardly anything at γ = 1.

    `order` 1 takes the features at the start of a block, 2 at its centre, to which the parameters are carried
    on a straight line from the block before (the one-leg form of two-step Adams–Bashforth): about a tenth of
    the error, less for short blocks, for up to 1.5 times the cost where features turn over in a unit of time
    (γ = 1); at γ = 1/2 order 1 is nearly always enough. Blocks of one step are the exact chain under both.

    `block` is the length of the longest block, None for min(N/4, N^{2−γ}/256) (order 2: N^{2−γ}/16), or what
    the tolerance allows, and 2²⁰ steps at most. Save times cut blocks exactly; between two of them blocks are of
    equal length. Before the first one there are at least three, so that the error is known by then.

    `tolerance` chooses lengths so that the largest error of an output, over all points and times, stays below
    it. Blocks are at least 16 steps long. Those that should have been shorter are counted in `Samples.forced`,
    and where the stated error exceeds the tolerance there is a warning. In trials on 5184 runs (tanh and ReLU,
    γ 1/2 … 1, α 1 … 20, widths 1024 and 4096) 6 missed their tolerance without one: two smooth ones by a
    quarter, and with a kink an error of 2.7e-4 under a tolerance of 1e-4 was the worst.

    `Samples.error` is the stated error: the motion of the kernel over a block, measured in the blocks before,
    tells what the block gets wrong; contributions are added up with their signs, and multiplied by 4 (order 1)
    or 2.5 (order 2), the largest sum so far. It is an estimate and no bound: in nearly all trials it was above
    the true error, and mostly below ten times of it. It may be low by two at γ = 1 where a run has fewer than
    about eight blocks or most are as short as they can be, and by ten at single times where there are one or two
    data points, whose contributions may cancel. Of extra points `at` nothing is said. Where blocks see only their
    own points (more data than fits a block) it is the sum of the distances between the outputs foretold and
    reached.

    `native`, `lanes` and `product` as in `Stepwise`. Raises ``ValueError`` for a block or lanes < 1, an order
    other than 1 and 2, a tolerance outside 10^−30 … 10^30. Source: references `sstep`, `xavier`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=4, inputs=3), network)
        >>> settings = {"replicas": 2, "key": jax.random.key(0)}
        >>> samples = jl.simulate(problem, 4096, [1.0], method=jl.SStep(tolerance=1e-4), **settings)
        >>> exact = jl.simulate(problem, 4096, [1.0], method=jl.Stepwise(), **settings)
        >>> bool(samples.error.max() < 1e-4), bool(abs(samples.values - exact.values).max() < 2e-4)
        (True, True)
    """

    block: int | None = eqx.field(static=True, default=None, converter=_plain)
    order: int = eqx.field(static=True, default=1, converter=_plain)
    tolerance: float | None = eqx.field(static=True, default=None, converter=_plain)
    lanes: int | None = eqx.field(static=True, default=None, converter=_plain)
    native: bool | None = eqx.field(static=True, default=None)
    product: AbstractProduct | None = None

    def __check_init__(self) -> None:
        """Block and lanes are whole and positive, the order is 1 or 2, the tolerance positive."""
        for name in ("block", "lanes"):
            optional_positive_integer(name, getattr(self, name))
        whole = isinstance(self.order, int) and not isinstance(self.order, bool)
        require(whole and self.order in FRACTIONS, "order", "be 1 or 2", f"it is {self.order!r}")
        if self.tolerance is not None:
            tolerance = positive_number("tolerance", self.tolerance)
            fits = SMALLEST <= tolerance <= 1 / SMALLEST
            require(fits, "tolerance", f"lie between {SMALLEST:g} and {1 / SMALLEST:g}", f"it is {tolerance:g}")
        left_to_xla(self.native, self.product)
        known = self.native is None or isinstance(self.native, bool)
        require(known, "native", "be True, False or None", f"it is {self.native!r}")

    def block_length(self, width: int, gamma: float) -> int:
        """Steps of the longest block at this width and scaling N^{−γ}."""
        if self.block is not None:
            length = self.block
        elif self.tolerance is not None:
            length = width // 2
        else:
            length = min(width // 4, int(FRACTIONS[self.order] * width ** (2 - gamma)))
        return max(1, min(length, LONGEST))

    def chain(self, run: Run) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""
        kind, known = type(run.network).__name__, family(run.network).in_blocks
        require(known, "method", f"be Stepwise() for a {kind} network", "blocks are made for Shallow networks")
        power = isinstance(run.problem.scaling, PowerScaling)
        require(power, "method", "be Stepwise() for this scaling", "blocks are made for the steps of N^−γ")
        require(run.optimiser is None, "method", "be Stepwise() with an optimiser", "blocks are steps of SGD")
        rule, likely = self._rule(run)
        missing = _native.missing(run.network, run.problem.loss, run.devices)
        asked = left_to_xla(self.native, self.product)
        if rule.rows:
            missing = missing or "blocks shorter than the data are left to XLA"
        require(not (asked and missing), "native", "be False or None here", f"{missing}")
        suits = not missing and run.dtype == np.float32 and run.points <= MANY_POINTS
        native = suits if asked is None else asked
        block = self.block_length(run.width, run.gamma)
        length = f"block={block}" if self.tolerance is None else f"tolerance={self.tolerance:g}"
        name = f"SStep({length}, order={self.order}, native={native})"
        advance = _blocks_native.chain(rule, run) if native else _blocks.chain(rule, together=not run.on_cpus)
        points = rule.rows or run.points
        # Parameters now, before, and what rounding took from them, three kernels.
        state = (2 + self.order) * parameters(run) + 3 * run.dtype.itemsize * points**2
        if run.on_cpus:
            # Features of all neurons once for a worker, whose replicas take turns.
            scratch, suits_device = features(run, 2 * points), max(1, min(TOGETHER, NEURONS // run.width))
        else:
            # Of every replica, and the errors of a chunk of steps by point, in some arrays.
            errors = ERRORS * run.dtype.itemsize * rule.chunk * (run.batch or 1) * points
            state += features(run, 4 * points) + errors
            scratch, suits_device = 0, lanes_in_memory(run, state)
        lanes = self.lanes or suits_device
        seconds = sstep_seconds(run, rule, likely, native, lanes)
        return audited(Chain(name, advance, lanes, int(rule.longest), seconds, state, scratch, native), self.product)

    def pinned(self, chain: Chain) -> "SStep":
        """The same blocks, in its lanes and by its compiler."""
        return replace(self, lanes=chain.lanes, native=chain.native)

    def review(self, samples: Samples) -> None:
        """Warn where the stated error exceeds the tolerance: blocks that should have been shorter than the shortest."""
        if self.tolerance is None or samples.error is None:
            return
        beyond = int(np.sum(np.max(samples.error, axis=1) > self.tolerance))
        if beyond:
            advice = "order=2 or Stepwise()" if self.order == 1 else "Stepwise()"
            warnings.warn(
                f"{beyond} of {samples.replicas} replicas state an error beyond the tolerance {self.tolerance:g}, "
                f"up to {np.max(samples.error):.2g}: blocks of {SHORTEST} steps are too long here; use {advice}.",
                stacklevel=5,
            )

    def _rule(self, run: Run) -> tuple[Rule, int]:
        """The rule, and the length that most blocks are expected to have."""
        gamma = run.gamma
        longest = min(self.block_length(run.width, gamma), max(1, run.steps))
        shortest = longest if self.tolerance is None else min(longest, SHORTEST)
        likely = longest if self.tolerance is None else min(longest, max(shortest, self.likely_length(run)))
        likely = max(1, min(likely, run.steps // run.saves))  # save times cut blocks
        # The kernel costs M² a neuron, everything else about M (r + 12): share it where it is the largest part.
        renew = min(MOST_SHARING, max(1, round(run.points / (run.rank + 12))))
        # All points cost M² / renew a block, its own h points h²: with many points the smaller of the two.
        local = run.batch is not None and run.points > MANY_POINTS
        local = local and (likely * run.samples) ** 2 * renew < run.points**2
        if local:
            longest, renew = likely, 1
        start = max(shortest, min(longest, int(run.width ** (2 - gamma) / FIRST)))
        if self.tolerance is None:
            start = longest if self.order == 1 else max(1, longest // START)
        # Blocks in which features hardly move may share a kernel; order 2 needs its change from block to block.
        short = self.order == 1 and longest <= SHORT * run.width ** (2 - gamma)
        shares = self.tolerance is not None or short
        rule = Rule(
            order=self.order,
            keep=1 if local else max(SHARING, renew) if shares else renew,
            renew=renew,
            rows=longest * run.samples if local else 0,
            # A CPU takes steps one by one, and would compile again for every other number here.
            chunk=1 if run.on_cpus else _chunk(run, likely),
            start=jnp.asarray(start, jnp.int32),
            shortest=jnp.asarray(shortest, jnp.int32),
            longest=jnp.asarray(longest, jnp.int32),
            allowance=jnp.asarray((self.tolerance or 0.0) / MARGIN, jnp.float32),
            total=jnp.asarray(max(1, run.steps), jnp.float32),
        )
        return rule, likely

    def likely_length(self, run: Run) -> int:
        """Steps of a block that the tolerance will allow, by what trials with M = 20 points needed: a hint, no more.

        As a share of N^{2−γ}: 0.02 τ α^{−1.25} at order 1 and 0.12 √τ α^{−2} at order 2, with τ the tolerance in
        units of 10⁻⁴; a 32nd of that where σ has a kink, whose kernel jumps as neurons pass it.
        """
        alpha, unit = max(run.problem.learning_rate, 1e-3), (self.tolerance or 0.0) / 1e-4
        share = 0.02 * unit / alpha**1.25 if self.order == 1 else 0.12 * unit**0.5 / alpha**2
        smooth = 1.0 if run.network.activation.smooth else 1 / 32
        return int(smooth * min(1.0, share) * run.width ** (2 - run.gamma))


def _chunk(run: Run, likely: int) -> int:
    """Steps that an accelerator takes together: a power of two, no more than blocks have.

    q = chunk · α B/N sets how many corrections they need; about 2, as far as B is about 1.
    """
    alpha = max(run.problem.learning_rate, 1e-3)
    most = min(BLOCK // run.samples, likely, int(2 * run.width / alpha))
    return 1 << max(0, most.bit_length() - 1)
