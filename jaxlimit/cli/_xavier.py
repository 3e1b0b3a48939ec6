"""``jaxlimit run xavier``."""

from pathlib import Path
from typing import Annotated

from jaxlimit import studies
from jaxlimit.cli._app import Flag, Many, Whole, Wholes, require_rule, runs
from jaxlimit.cli._study import built, finish, settings_for


@runs.command
def xavier(
    *,
    config: Path | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    replicas: Annotated[int | None, Whole] = None,
    path_replicas: Annotated[int | None, Whole] = None,
    law_width: Annotated[int | None, Whole] = None,
    ts: Annotated[list[float] | None, Many] = None,
    data: str | None = None,
    classes: Annotated[tuple[int, int] | None, Whole] = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    activation: str | None = None,
    rule: str | None = None,
    c: str | None = None,
    w: str | None = None,
    learning_rate: float | None = None,
    seed: Annotated[int | None, Whole] = None,
    dtype: str | None = None,
    store: Path | None = None,
    shard: str | None = None,
    out: Path = Path("jaxlimit-xavier"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the Xavier limit theorem (arXiv 1907.04108), on handwritten digits unless told otherwise.

    Simulates SGD at several widths, solves the limit, proves the kernel positive definite, tests the
    convergence, prints a table of claims and writes figures, report.html, samples.npz and config.json.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    widths
        Widths N over which rates are fitted, increasing.
    replicas
        Networks for the tests of the law (at least 4096 for a verdict).
    path_replicas
        Networks per width for the rates (at the widest; more at narrower widths).
    law_width
        Width at which the law is tested.
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
        An activation, as in Erf or Hermite:degree=3 (Tanh needs --rule Quadrature).
    rule
        ClosedForm, Quadrature, or MonteCarlo:neurons=10000, with which nothing is proved.
    c
        Law of the output weights, as in Rademacher or Uniform:low=-1,high=1.
    w
        Law of a neuron's input weights, as in Normal:std=2 (others than Gaussian need --rule MonteCarlo).
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
        "ts": ts,
        "activation": activation,
        "rule": rule,
        "c": c,
        "w": w,
        "learning_rate": learning_rate,
        "seed": seed,
        "dtype": dtype,
    }
    where = {"data": data, "classes": classes, "points": points, "inputs": inputs, "bias": bias}
    settings = settings_for(studies.resolved_settings, config, flags, where)
    study = built(settings, studies.xavier_from)
    network = studies.network_from(study.settings)
    require_rule([network.activation], network.initial, study.arguments["rule"])
    return finish(study, out, json, store, shard)
