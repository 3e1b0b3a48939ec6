"""``jaxlimit run mean_field``."""

from pathlib import Path
from typing import Annotated

from jaxlimit import studies
from jaxlimit.cli._app import Flag, Many, Whole, Wholes, runs
from jaxlimit.cli._study import built, finish, settings_for


@runs.command(name="mean_field")
def mean_field(
    *,
    config: Path | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    replicas: Annotated[int | None, Whole] = None,
    path_replicas: Annotated[int | None, Whole] = None,
    law_width: Annotated[int | None, Whole] = None,
    measure_widths: Annotated[list[int] | None, Wholes] = None,
    measure_replicas: Annotated[int | None, Whole] = None,
    particles: Annotated[int | None, Whole] = None,
    ts: Annotated[list[float] | None, Many] = None,
    data: str | None = None,
    classes: Annotated[tuple[int, int] | None, Whole] = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    activation: str | None = None,
    c: str | None = None,
    w: str | None = None,
    learning_rate: float | None = None,
    seed: Annotated[int | None, Whole] = None,
    dtype: str | None = None,
    store: Path | None = None,
    shard: str | None = None,
    out: Path = Path("jaxlimit-mean-field"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the mean-field limit (arXiv 1805.01053 and 1808.09372), on handwritten digits unless told otherwise.

    Simulates networks averaged over their neurons, solves the limit with particles, tests the law of large numbers and
    the central limit theorem, contrasts the movement of the neurons with the Xavier scaling's, prints a table of claims
    and writes figures, report.html, samples.npz and config.json.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    widths
        Widths N over which the law of large numbers is fitted, increasing.
    replicas
        Networks for the fluctuations (at least 4096 for a verdict within 10%).
    path_replicas
        Networks for the fit (at the widest width; more at narrower ones).
    law_width
        Width at which the fluctuations are tested.
    measure_widths
        Widths at which the movement of the neurons is measured, at most 1024.
    measure_replicas
        Networks at each of them.
    particles
        Particles of the limit.
    ts
        Save times in limit time, starting at 0.
    data
        A function of jaxlimit.data: digits (the default), diabetes, sphere, teacher.
    classes
        The two digits; for digits only.
    points
        Number of data points; the default is 20.
    inputs
        Number of inputs, for data that are made: sphere and teacher.
    bias
        Append a coordinate 1 to every point.
    activation
        An activation, as in Erf or Hermite:degree=3.
    c
        Law of the output weights, as in Rademacher or Uniform:low=-1,high=1.
    w
        Law of a neuron's input weights, as in Normal:std=2.
    learning_rate
        α, in limit time.
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
        "widths": widths,
        "replicas": replicas,
        "path_replicas": path_replicas,
        "law_width": law_width,
        "measure_widths": measure_widths,
        "measure_replicas": measure_replicas,
        "particles": particles,
        "ts": ts,
        "activation": activation,
        "c": c,
        "w": w,
        "learning_rate": learning_rate,
        "seed": seed,
        "dtype": dtype,
    }
    where = {"data": data, "classes": classes, "points": points, "inputs": inputs, "bias": bias}
    settings = settings_for(studies.mean_field_settings, config, flags, where)
    return finish(built(settings, studies.mean_field_from), out, json, store, shard)
