"""Where gradient descent of a wide network goes: to the solution nearest to its start, put to the test."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import (
    float_dtype,
    instance,
    positive_integer,
    positive_number,
    random_key,
    real_array,
    require,
    widths_in_order,
)
from jaxlimit._devices import available_on_host
from jaxlimit._lanes import Progress
from jaxlimit._typing import Host, RandomKey
from jaxlimit.activations import AbstractActivation, Erf
from jaxlimit.claims import Report
from jaxlimit.data import Data
from jaxlimit.kernels import AbstractRule
from jaxlimit.losses import SquaredError
from jaxlimit.networks import Linearised, Shallow
from jaxlimit.problem import Problem
from jaxlimit.scalings import FixedStep
from jaxlimit.simulation import AbstractMethod, plan
from jaxlimit.studies._call import Call
from jaxlimit.studies._min_norm_claims import claims
from jaxlimit.studies._min_norm_evidence import Evidence, Limit, Paths, Series, beside_solutions, parameters, with_noise
from jaxlimit.studies._min_norm_panels import panels
from jaxlimit.studies._run_store import RunStore, simulated
from jaxlimit.studies._streams import stream

MIN_NORM_WIDTHS = (1000, 2000, 5000, 10000)
MIN_NORM_STEPS = 1000
MIN_NORM_REPLICAS = 16
BESIDE = Erf()
"""A smooth activation, beside the kink of ReLU."""
NOISE = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
FEWEST_STEPS = 10
"""After few steps parameters are in the range of F_0 but for rounding."""
LEAST = 1e-6
"""Of ηλ_max times the steps: nothing has been trained before."""
SAVES = 9
"""Save times beside the start, evenly spaced in log steps."""


def min_norm(
    problem: Problem,
    *,
    key: RandomKey,
    widths: Sequence[int] = MIN_NORM_WIDTHS,
    replicas: int = MIN_NORM_REPLICAS,
    steps: int = MIN_NORM_STEPS,
    beside: AbstractActivation | None = BESIDE,
    twin: bool = True,
    held_out: Data | None = None,
    labels: tuple[Data, Data] | None = None,
    shares: Sequence[float] = NOISE,
    delta: float = 0.01,
    rule: AbstractRule | None = None,
    method: AbstractMethod | None = None,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    store: RunStore | str | Path | None = None,
) -> Report:
    """Test where full gradient descent of wide networks goes, and what that says of new points.

    Each of `replicas` networks of every width trains for `steps` steps of `FixedStep(eta)` on all points and is seen
    from its own minimum-norm solution w* = w(0) + F_0(F_0ᵀF_0)^{-1}(Y − f_0), with P the projection on the range of
    F_0. Claims: the assumptions; |P⊥(w − w*)|² falls like m^{−1/2} in the width m, or faster, and like m^{−1} for a
    smooth activation, of which `beside` is a second series (None for none); |w − w(0)| tends to the limit's, which for
    long training is √((Y − f_0)ᵀH^{-1}(Y − f_0)); the neuron that moves most moves like m^{−1/2}; the error follows
    Σ(1 − ηλ_i)^{2k}(v_i·(Y − f_0))²; the network's kernel A_t = F_tᵀF_t stays that of its start, and with `twin` the
    outputs stay those of its tangent, `networks.Linearised` with the same key, both up to m^{−1/2}. With `held_out`
    points networks tend there to f_0(x) + h(x)ᵀH^{-1}(Y − f_0), trained for as long. With `labels`, data whose labels
    are ±1 (`Data.with_signs` makes them of real targets) and others to test on, √(2 yᵀH^{-1}y/n), the leading term of
    the proved bound, is compared with the test loss of kernel regression where shares of the labels are drawn anew.
    There wide networks end whose start is near zero: w is made small for this, which leaves H of ReLU as it is.

    The limit has the kernel of the problem's own network, by `rule` where it has no closed form, and η is that of the
    mean loss. Slopes and verdicts need 8 networks, and more than rounding can make: steps·ε/2 of every weight at worst,
    which is 1e-4 of it for 2000 steps in float32. Raises ``ValueError`` for bad arguments, among them a scaling that is
    not `FixedStep` with γ = 1/2, points of unequal weight, a loss other than `SquaredError`, a kernel that is not
    proved positive definite, fewer than 10 steps, and a step that is unstable or trains nothing, before anything is
    simulated. With a `store`, a `RunStore` or its folder, networks are kept there and never simulated twice. Source:
    references `min_norm`, `arora2019`.

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(c=jl.initial.Rademacher())
        >>> network = jl.networks.Shallow(jl.activations.Relu(), law, train_output=False)
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=4), network, jl.FixedStep(0.5))
        >>> small = {"widths": (16, 32), "replicas": 2, "steps": 20, "beside": None, "devices": jax.devices()[:1]}
        >>> report = jl.studies.min_norm(problem, key=jax.random.key(0), **small)
        >>> [claim.name for claim in report.claims][1:]
        ['minimum norm Relu', 'movement', 'largest move', 'training curve', 'kernel Relu', 'tangent twin']
    """
    key, sizes, last = random_key(key), widths_in_order(widths), positive_integer("steps", steps)
    given = _checked(problem)
    require(last >= FEWEST_STEPS, "steps", f"be at least {FEWEST_STEPS}", f"it is {last}")
    enough = positive_integer("replicas", replicas) >= 2
    require(enough, "replicas", "be at least 2 (for a standard error)", f"it is {replicas}")
    float_dtype(dtype)
    network: Any = given.network
    chosen = [] if beside is None else [instance("beside", beside, AbstractActivation)]
    coupled = instance("twin", twin, bool)
    apart = all(type(one) is not type(network.activation) for one in chosen)
    require(apart, "beside", "differ from the activation of the problem", f"both are {type(beside).__name__}")
    _check_points("held_out", held_out, given.data)
    noises, chance = _checked_labels(labels, shares), positive_number("delta", delta)
    require(chance < 1, "delta", "lie between 0 and 1", f"it is {chance:g}")
    ts = np.unique(np.concatenate([[0.0], np.round(np.geomspace(1.0, last, SAVES))]))
    at = None if held_out is None else held_out.x
    limit = Limit(given, ts, at, rule)
    far = limit.eta * float(limit.values[-1]) * last
    require(
        far >= LEAST, "problem", f"train in these steps, ηλ_max·steps ≥ {LEAST:g} for η on the sum", f"it is {far:.2g}"
    )
    noise = tuple(with_noise(network, *labels, share, chance, rule) for share in noises) if labels else ()

    problems = [given, *(replace(given, network=replace(network, activation=one)) for one in chosen)]
    _require_room(sizes[-1], replicas, ts.size, given.data.inputs, dtype)

    def own_key(k: int, width: int) -> RandomKey:
        # Independent keys for every run: fits and verdicts take their errors as independent.
        return stream(key, k, width)

    for k, one in enumerate(problems):
        for width in sizes:
            # What is refused is refused before the first network is trained.
            plan(one, width, [0.0], key=own_key(k, width), batch=None, dtype=dtype, devices=devices)
    linear = replace(given, network=Linearised(network))
    calls = []
    for k, one in enumerate(problems):
        for width in sizes:
            training = Call(
                one,
                width,
                ts,
                replicas,
                own_key(k, width),
                at=at if k == 0 else None,
                batch=None,
                dtype=dtype,
                devices=devices,
            )
            calls.append(training._replace(method=method, observe=parameters))
            if coupled and k == 0:
                # The same key: the same start, replica by replica.
                calls.append(training._replace(problem=linear))
    # One width after the other: parameters at all times are large.
    found = simulated(calls, store, progress)

    def run(k: int) -> Paths:
        samples = next(found)
        twins = next(found) if coupled and k == 0 else None
        return beside_solutions(problems[k], samples, limit if k == 0 else None, twins)

    series = tuple(
        Series(one, one.network.activation, tuple(run(k) for _ in sizes))  # type: ignore[attr-defined]
        for k, one in enumerate(problems)
    )
    evidence = Evidence(given, series, limit, sizes, ts, replicas, noise)
    tested, measured, remarks = claims(evidence)
    return Report(
        title="Where gradient descent goes: the solution nearest to the start",
        source="Satpathi & Srikant, arXiv 2105.06569",
        claims=tested,
        panels=panels(evidence, measured),
        arrays=_arrays(evidence),
        configuration={
            "study": "min_norm",
            "activation": repr(network.activation),
            "beside": None if beside is None else repr(beside),
            "twin": coupled,
            "initial": repr(network.initial),
            "train_output": network.train_output,
            "points": given.data.points,
            "inputs": given.data.inputs,
            "held_out": 0 if held_out is None else held_out.points,
            "labels": None if labels is None else [one.points for one in labels],
            "shares": list(noises),
            "delta": chance,
            "scaling": repr(given.scaling),
            "learning_rate": given.learning_rate,
            "rule": "closed form" if rule is None else repr(rule),
            "widths": list(sizes),
            "replicas": replicas,
            "steps": ts.tolist(),
            "method": {f"{one.name}, {paths.width}": paths.method for one in series for paths in one.paths},
            "dtype": np.dtype(dtype).name,
        },
        remarks=remarks,
    )


def _checked(problem: Problem) -> Problem:
    given = instance("problem", problem, Problem)
    instance("problem", given.network, Shallow, "have a network with one hidden layer")
    kind, loss = type(given.scaling).__name__, type(given.loss).__name__
    scaling = instance("problem", given.scaling, FixedStep, f"have the scaling FixedStep, not {kind}")
    half = scaling.gamma == 0.5
    require(half, "problem", "have the factor m^(−1/2) in front", f"its scaling is {scaling}")
    require(isinstance(given.loss, SquaredError), "problem", "have the loss SquaredError", f"it has {loss}")
    require(given.learning_rate > 0, "problem", "have a learning rate above 0", "it is 0")
    equal = float(np.ptp(given.data.weights)) <= 1e-12 / given.data.points
    require(equal, "problem", "have points of equal weight", "some weigh more")
    return given


def _require_room(width: int, replicas: int, times: int, inputs: int, dtype: Any) -> None:
    """Before the smaller widths are trained: all weights of the largest at all saves, twice while they are joined."""
    free, needed = available_on_host(), 2 * replicas * times * width * (inputs + 1) * np.dtype(dtype).itemsize
    if free is not None:
        have = (
            f"{replicas} networks of width {width} at {times} saves take {needed / 1e9:.3g} GB of {free / 1e9:.3g} GB"
        )
        require(needed <= free, "widths", "leave weights that fit into the memory", have)


def _check_points(name: str, points: Data | None, like: Data) -> None:
    if points is not None:
        inputs = instance(name, points, Data).inputs
        require(inputs == like.inputs, name, f"have {like.inputs} inputs like the data", f"it has {inputs}")


def _checked_labels(labels: tuple[Data, Data] | None, shares: Sequence[float]) -> tuple[float, ...]:
    """The shares of noise; none without labels."""
    values: Host = real_array("shares", shares, 1)
    within = bool(np.all((values >= 0) & (values <= 1)) and np.all(np.diff(values) > 0))
    require(within, "shares", "increase within [0, 1]", f"it is {values.tolist()}")
    if labels is None:
        return ()
    pair = isinstance(labels, tuple) and len(labels) == 2 and all(isinstance(one, Data) for one in labels)
    require(pair, "labels", "be a pair of Data, to train on and to test on", f"it is a {type(labels).__name__}")
    _check_points("labels", labels[1], labels[0])
    signs = all(bool(np.all(np.abs(one.y) == 1.0)) for one in labels)
    require(signs, "labels", "have targets −1 and 1", "it has others")
    require(labels[1].points > 1, "labels", "have two points or more to test on", "there is one")
    return tuple(float(value) for value in values)


def _arrays(evidence: Evidence) -> dict[str, Any]:
    """What the figures and verdicts rest on, ready for an .npz file."""
    arrays: dict[str, Any] = {"steps": evidence.steps, "eigenvalues": evidence.limit.values}
    for series in evidence.series:
        for paths in series.paths:
            name = f"{series.name}_{paths.width}"
            arrays[f"h_{name}"], arrays[f"distance_{name}"] = paths.values, paths.distance
            more = {"kernel": paths.kernel, "off": paths.off, "gaps": paths.gaps}
            arrays.update({f"{key}_{name}": value for key, value in more.items() if value is not None})
            arrays.update({f"{key}_{name}": value for key, value in paths.along._asdict().items()})
    if evidence.noise:
        arrays["noise"] = np.array([[one.share, one.loss, one.error, one.bound.value] for one in evidence.noise])
    return arrays
