"""The same networks in several arithmetics: which digits of a conclusion survive."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlimit._arguments import instance, items, positive_integer, random_key, require
from jaxlimit._devices import chosen_devices, kinds
from jaxlimit._lanes import Progress
from jaxlimit._typing import RandomKey
from jaxlimit.activations import Erf
from jaxlimit.data import sphere
from jaxlimit.doctor._audit import Audit, Row
from jaxlimit.doctor._conclusion import energies, energy, quantity, ratio, shares
from jaxlimit.initial import Initial, Normal, Uniform
from jaxlimit.limits import SpectralLimit
from jaxlimit.networks import Shallow
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.scalings import MeanField, PowerScaling, Xavier
from jaxlimit.simulation import (
    AbstractMethod,
    AbstractProduct,
    DeviceProduct,
    Plan,
    RoundedProduct,
    SStep,
    Stepwise,
    plan,
    simulate,
)
from jaxlimit.statistics import equivalence

TS = (0.0, 1.0, 2.0)

FEWEST = 16
"""Replicas for a standard error."""

UNITS = {10: "TF32", 7: "bfloat16"}
"""Whose units multiply numbers with so many bits of mantissa."""

SHORT = (RoundedProduct(10), RoundedProduct(7))


class Arithmetic(NamedTuple):
    """How numbers are kept and multiplied: a dtype, and a product, None for full precision."""

    name: str
    dtype: Any
    product: AbstractProduct | None = None


class Case(NamedTuple):
    """A run of the audit: those of one problem and one method follow each other, float64 first."""

    problem: Problem
    arithmetic: Arithmetic
    method: AbstractMethod


def precision(
    problem: Problem | None = None,
    *,
    width: int = 512,
    replicas: int = 1024,
    key: RandomKey | None = None,
    products: Sequence[AbstractProduct] = SHORT,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Which digits of a conclusion survive in float32, and in products that are shorter still.

    The same draws are run in float64, in float32 with full products (by XLA, and by numba where that is what a CPU
    takes by default), and in float32 with `products` emulated, by default those of TF32 and bfloat16 units; on
    accelerators also with the products that they take by default. Both methods: `Stepwise`, and `SStep` in blocks of
    fixed length, the same in every arithmetic. Of each run, at t = 2, what a theorist would report:

        mean and standard deviation of h_t at every point, √E|h^N_t − h_t|² to the limit's path from the network's
        own start, the mean controlled by that path, and the energy distance to the limit's law with its p-value,

    each with its standard error, its difference from float64, and the digits that agree. A conclusion survives where
    every difference, with twice its doubt, is at most a tenth of the standard error of its quantity, and the verdict on
    the law is the same: more digits are drowned by the noise of so many replicas. With more of them there is less
    noise, while a systematic shift stays: `Row.replicas` says how many an arithmetic is good for, at this width.

    `problem=None` takes one small data set on the sphere at γ = 1/2, and at γ = 1, where replicas scatter less by
    N^{−1/2}, which shows a shift of their mean. Emulated are the factors of every product of matrices, those of the
    read-out included: a device that multiplies some of them in full loses less. A limit with path and law is known for
    the problems of `SpectralLimit`; for others mean and standard deviation are all. `progress` as in `simulate`, in
    runs. The default takes 20 runs, most of whose time is compiling.

    Raises ``ValueError`` without the x64 flag (JAX_ENABLE_X64), for a problem that is not of `Shallow` networks with
    N^{−γ}, for fewer than 16 replicas, where the float64 run diverges, and for what `simulate` refuses.
    Source: references `xavier`, `normalisation`.

        >>> import jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(3, 2), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> audit = jl.doctor.precision(problem, width=64, replicas=32, products=[jl.simulation.RoundedProduct(3)])
        >>> audit.holds, [row.survives for row in audit.rows if row.arithmetic == "float32, 3-bit products"]
        (True, [False, False])
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("The audit compares with float64 on the device, which needs JAX_ENABLE_X64=1.")
    size, count = positive_integer("width", width), positive_integer("replicas", replicas)
    require(count >= FEWEST, "replicas", f"be at least {FEWEST} (for standard errors)", f"it is {count}")
    require(progress is None or callable(progress), "progress", "be a function", f"it is a {type(progress).__name__}")
    key, chosen = jax.random.key(0) if key is None else random_key(key), chosen_devices(devices)
    short = tuple(_short(product) for product in items("products", products, "products"))
    on_cpus = all(device.platform == "cpu" for device in chosen)
    if not on_cpus:
        short += (Arithmetic("float32, as the device multiplies by default", np.float32, DeviceProduct()),)
    foreseen = partial(plan, width=size, ts=TS, key=key, devices=chosen)
    problems = _problems() if problem is None else (_suitable(problem),)
    groups = [list(_cases(one, blocks, short, foreseen)) for one in problems for blocks in (False, True)]
    total, done = sum(map(len, groups)), itertools.count(1)

    def run(case: Case) -> Samples:
        given: dict[str, Any] = {"replicas": count, "key": key, "method": case.method, "dtype": case.arithmetic.dtype}
        samples = simulate(case.problem, size, TS, devices=chosen, **given)
        if progress is not None:
            progress(next(done), total)
        return samples

    # Compiling is most of the work, and takes one core of a CPU; an accelerator has room for one run.
    pool = ThreadPoolExecutor(2 if on_cpus else 1)
    try:
        found = iter(list(pool.map(run, itertools.chain(*groups))))
    finally:
        # An interrupt does not wait for what is under way.
        pool.shutdown(wait=False, cancel_futures=True)
    remarks = ["A CPU multiplies float32 in full by default: a row of that would repeat float32."] if on_cpus else []
    rows: list[Row] = []
    for cases in groups:
        limit = _limit(cases[0].problem)
        rows += _rows(cases, list(itertools.islice(found, len(cases))), limit, key)
        if limit is None:
            remarks.append(f"{rows[-1].regime}: no limit with path and law; mean and standard deviation are all.")
    return Audit(tuple(rows), size, count, TS, kinds(chosen), tuple(dict.fromkeys(remarks)))


def _problems() -> tuple[Problem, Problem]:
    """A small data set in the Xavier scaling, and in the mean-field scaling where replicas scatter least."""
    network = Shallow(Erf(), Initial(c=Uniform(-1, 1), w=Normal(0, 1)))
    data = sphere(points=4, inputs=3)
    return Problem(data, network, scaling=Xavier()), Problem(data, network, scaling=MeanField())


def _suitable(problem: Problem) -> Problem:
    """What both methods can simulate."""
    network, scaling = instance("problem", problem, Problem).network, problem.scaling
    fits = isinstance(network, Shallow) and isinstance(scaling, PowerScaling)
    found = f"they are {type(network).__name__} and {type(scaling).__name__}"
    require(fits, "problem", "have a Shallow network and a scaling N^−γ", found)
    return problem


def _short(product: AbstractProduct) -> Arithmetic:
    instance("products", product, AbstractProduct, "hold products like RoundedProduct(10)")
    name = repr(product)
    if isinstance(product, RoundedProduct):
        name = (
            f"{UNITS[product.mantissa]} products" if product.mantissa in UNITS else f"{product.mantissa}-bit products"
        )
    return Arithmetic(f"float32, {name}", np.float32, product)


def _cases(
    problem: Problem, by_blocks: bool, short: Sequence[Arithmetic], foreseen: Callable[..., Plan]
) -> Iterator[Case]:
    """Every arithmetic, each foreseen: what is refused is refused before anything runs."""
    # Blocks of a fixed length: under a tolerance every arithmetic would cut its own.
    kind = partial(SStep, order=2) if by_blocks else Stepwise
    full = Arithmetic("float64", np.float64), Arithmetic("float32", np.float32)
    for arithmetic in (*full, *short):
        method = kind(native=False, product=arithmetic.product)
        foreseen(problem, method=method, dtype=arithmetic.dtype)
        yield Case(problem, arithmetic, method)
    if getattr(foreseen(problem, method=kind()).method, "native", False):
        yield Case(problem, Arithmetic("float32, native", np.float32), kind(native=True))


def _limit(problem: Problem) -> SpectralLimit | None:
    """The limit with a path and a law, of the problems that have one."""
    try:
        return SpectralLimit(problem)
    except ValueError:  # another loss, γ = 1, no closed form of the kernel
        return None


def _rows(
    cases: Sequence[Case], samples: Sequence[Samples], limit: SpectralLimit | None, key: RandomKey
) -> Iterator[Row]:
    """Each beside the first, which is float64."""
    reference, gamma = samples[0], cases[0].problem.scaling.gamma  # type: ignore[attr-defined]
    lost = reference.diverged
    require(lost == 0, "problem", "converge in float64", f"{lost} of {reference.replicas} replicas diverged")
    exact, expected, law = np.asarray(reference.values), shares(reference, limit), energy(reference, limit, key)
    for case, found in zip(cases, samples, strict=True):
        name, full = case.arithmetic.name, case.arithmetic.product is None
        known = Row(f"γ = {gamma:g}", type(case.method).__name__, found.method, name, full, found.diverged)
        if found.diverged:
            yield known._replace(lost=(*expected, *(() if law is None else ("energy distance", "verdict"))))
            continue
        gap, spread = np.abs(np.asarray(found.values, np.float64) - exact), np.std(exact[:, -1], axis=0, ddof=1)
        own, distance = shares(found, limit), energy(found, limit, key)
        quantities = [quantity(which, own[which], expected[which]) for which in expected]
        p_value = verdict = None
        if distance is not None and law is not None:
            quantities.append(energies(distance, law))
            p_value, verdict = float(distance.p_value[0]), equivalence(distance).verdict.value
        moved = [each.name for each in quantities if not each.kept]
        if law is not None and verdict != equivalence(law).verdict.value:
            moved.append("verdict")
        yield known._replace(
            start=float(gap[:, 0].max()),
            largest=float(gap[:, -1].max()),
            largest_deviations=float(ratio(gap[:, -1].max(axis=0), spread).max()),
            quantities=tuple(quantities),
            p_value=p_value,
            verdict=verdict,
            lost=tuple(moved),
        )
