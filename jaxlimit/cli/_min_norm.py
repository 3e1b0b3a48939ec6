"""``jaxlimit run min_norm``."""

from pathlib import Path
from typing import Annotated, Any

from jaxlimit import studies
from jaxlimit._arguments import instance
from jaxlimit.cli._app import Flag, Many, Whole, Wholes, require_rule, runs, table
from jaxlimit.cli._points import points_table
from jaxlimit.cli._study import built, finish, merged

LABELS = 250
"""Labels to train on, unless a settings file says otherwise."""


@runs.command(name="min_norm")
def min_norm(
    *,
    config: Path | None = None,
    data: str | None = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    held_out: Annotated[int | None, Whole] = None,
    activation: str | None = None,
    beside: str | None = None,
    rule: str | None = None,
    w: str | None = None,
    eta: float | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    replicas: Annotated[int | None, Whole] = None,
    steps: Annotated[int | None, Whole] = None,
    labels_data: str | None = None,
    shares: Annotated[list[float] | None, Many] = None,
    seed: Annotated[int | None, Whole] = None,
    dtype: str | None = None,
    store: Path | None = None,
    shard: str | None = None,
    out: Path = Path("jaxlimit-min-norm"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test where gradient descent goes: the solution nearest to its start (arXiv 2105.06569), on the paper's data.

    Trains networks of several widths on all points at every step and sees each from its own minimum-norm solution;
    compares it with its linearised twin, training curves and new points with what the kernel foretells, and the test
    loss with noisy labels with the proved bound; prints a table of claims and writes figures, report.html, samples.npz
    and config.json. The paper's Figure 1 takes --replicas 5 --steps 10000.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    data
        A function of jaxlimit.data: polynomial (the default, 100 points and a bias), teacher, digits, diabetes, sphere.
    points
        Number of data points.
    inputs
        Number of inputs, for data that are made.
    bias
        Append a coordinate 1 to every point.
    held_out
        Further points at which networks are compared with kernel regression; 0 for none, as sphere needs it.
    activation
        An activation, as in Relu (the default).
    beside
        A second activation, Erf unless told otherwise, for the exponent of smooth ones; none for none.
    rule
        ClosedForm or Quadrature.
    w
        Law of a neuron's input weights, as in Normal:std=2.
    eta
        Step of the mean loss; the paper's step of the sum, times the number of points.
    widths
        Widths m over which rates are fitted, increasing.
    replicas
        Networks at each width (at least 8 for a slope).
    steps
        Steps of gradient descent.
    labels_data
        Where labels for the bound come from: digits (the default) or diabetes, with targets parted at their median.
    shares
        Shares of these labels that are drawn anew.
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
    flags: dict[str, Any] = {
        "held_out": held_out,
        "activation": activation,
        "beside": "none" if beside == "none" else None if beside is None else table("beside", beside),
        "rule": rule,
        "w": w,
        "eta": eta,
        "widths": widths,
        "replicas": replicas,
        "steps": steps,
        "shares": shares,
        "seed": seed,
        "dtype": dtype,
    }
    settings, _ = merged(studies.min_norm_settings, config, flags)
    before = instance("data", settings["data"], dict, "be a table")
    # The default's own name keeps its other arguments, such as the power.
    source = None if data == before.get("source") else data
    settings["data"] = points_table(before, None, source, points, inputs, bias)
    labels = settings["labels"]
    if labels_data is not None and not (isinstance(labels, dict) and labels.get("source") == labels_data):
        count = labels["points"] if isinstance(labels, dict) and "points" in labels else LABELS
        settings["labels"] = {"source": labels_data, "points": count}
    study = built(settings, studies.min_norm_from)
    network: Any = study.problem.network
    require_rule([network.activation], network.initial, study.arguments["rule"])
    return finish(study, out, json, store, shard)
