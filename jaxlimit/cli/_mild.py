"""``jaxlimit run mild``."""

from pathlib import Path
from typing import Annotated

from jaxlimit import studies
from jaxlimit.cli._app import Flag, Many, Whole, Wholes, runs
from jaxlimit.cli._points import points_table
from jaxlimit.cli._study import built, finish, merged, right_kinds


@runs.command(name="mild")
def mild(
    *,
    config: Path | None = None,
    data: str | None = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    activation: str | None = None,
    c: str | None = None,
    w: str | None = None,
    losses: Annotated[list[str] | None, Many] = None,
    eta: float | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    replicas: Annotated[int | None, Whole] = None,
    etas: Annotated[list[float] | None, Many] = None,
    step_width: Annotated[int | None, Whole] = None,
    share: float | None = None,
    horizon: float | None = None,
    descent_replicas: Annotated[int | None, Whole] = None,
    partition_width: Annotated[int | None, Whole] = None,
    start_widths: Annotated[list[int] | None, Wholes] = None,
    starts: Annotated[int | None, Whole] = None,
    tail_ts: Annotated[list[float] | None, Many] = None,
    seed: Annotated[int | None, Whole] = None,
    dtype: str | None = None,
    store: Path | None = None,
    shard: str | None = None,
    out: Path = Path("jaxlimit-mild"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the early stage of training mildly parameterised ReLU networks (arXiv 2206.02139).

    Trains networks by gradient descent on all points, follows which neurons see which points, compares the first
    descent with its prediction and hitting times over widths and steps, prints a table of claims and writes figures,
    report.html, samples.npz and config.json.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    data
        A function of jaxlimit.data whose targets are ±1: aligned (the default), sphere, digits.
    points
        Number of data points.
    inputs
        Number of inputs, for data that are made: aligned and sphere.
    bias
        Append a coordinate 1 to every point.
    activation
        Relu, unless told otherwise.
    c
        Law of the output weights, times √N, as in Rademacher.
    w
        Law of a neuron's input weights, as in Normal:std=0.00125.
    losses
        As in SquaredError Logistic Exponential, which are the default.
    eta
        Step of gradient descent on the mean loss.
    widths
        Widths N over which hitting times and descent are compared, increasing.
    replicas
        Networks of every kind; fewer than 8 make no verdict.
    etas
        Steps over which hitting times are compared, increasing.
    step_width
        Width of the networks for that.
    share
        Of the loss at the start, which is to be reached.
    horizon
        How long to train, in units of the time that the first descent alone would take.
    descent_replicas
        Networks for the first descent.
    partition_width
        Width of the networks whose sets of neurons are followed.
    start_widths
        Widths at which starts without a true-living neuron are counted.
    starts
        Starts for that.
    tail_ts
        Times t = ηk at which the exponential loss is compared with 1/(t log t).
    seed
        Seed of all randomness.
    dtype
        float32 or float64.
    store
        Folder in which all networks are kept: a run that was stopped goes on, and a report needs no simulation.
    shard
        i/n: one of n processes, i from 0, that share the work in one store.
    out
        Folder for the results; files of an earlier run are replaced.
    json
        Print one JSON object instead of the table.
    """
    flags = {
        "activation": activation,
        "c": c,
        "w": w,
        "losses": losses,
        "eta": eta,
        "widths": widths,
        "replicas": replicas,
        "etas": etas,
        "step_width": step_width,
        "share": share,
        "horizon": horizon,
        "descent_replicas": descent_replicas,
        "partition_width": partition_width,
        "start_widths": start_widths,
        "starts": starts,
        "tail_ts": tail_ts,
        "seed": seed,
        "dtype": dtype,
    }
    settings, _ = merged(studies.mild_settings, config, flags)
    with right_kinds():
        settings["data"] = points_table(settings["data"], None, data, points, inputs, bias)
    return finish(built(settings, studies.mild_from), out, json, store, shard)
