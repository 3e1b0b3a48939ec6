"""``jaxlimit run multilayer``."""

from pathlib import Path
from typing import Annotated

from jaxlimit import studies
from jaxlimit.cli._app import Flag, Many, Whole, Wholes, runs
from jaxlimit.cli._points import points_table
from jaxlimit.cli._study import built, finish, merged, right_kinds


@runs.command
def multilayer(
    *,
    config: Path | None = None,
    data: str | None = None,
    points: Annotated[int | None, Whole] = None,
    inputs: Annotated[int | None, Whole] = None,
    bias: Annotated[bool, Flag] = False,
    activation: str | None = None,
    layers: Annotated[int | None, Whole] = None,
    correlated: Annotated[bool, Flag] = False,
    loss: str | None = None,
    losses: Annotated[list[str] | None, Many] = None,
    epsilon: float | None = None,
    learning_rate: float | None = None,
    widths: Annotated[list[int] | None, Wholes] = None,
    reference: Annotated[int | None, Whole] = None,
    replicas: Annotated[int | None, Whole] = None,
    step_replicas: Annotated[int | None, Whole] = None,
    spread_replicas: Annotated[int | None, Whole] = None,
    spread_widths: Annotated[list[int] | None, Wholes] = None,
    ts: Annotated[list[float] | None, Many] = None,
    end: float | None = None,
    seed: Annotated[int | None, Whole] = None,
    store: Path | None = None,
    shard: str | None = None,
    out: Path = Path("jaxlimit-multilayer"),
    json: Annotated[bool, Flag] = False,
) -> int:
    """Test the mean-field limit of networks with several hidden layers (arXiv 2001.11443, 2006.09355).

    Trains networks of several widths and step sizes beside their limit, neuron by neuron, tests the rates, whether
    neurons stay different at depth, and whether the loss vanishes; prints a table of claims and writes figures,
    report.html, samples.npz and config.json. Other scalings, one hidden layer, and independent weights with mean
    zero are refused: the theorem does not cover them.

    Parameters
    ----------
    config
        TOML or JSON file of settings, for example the config.json of an earlier run; flags override it.
    data
        A function of jaxlimit.data: teacher (the default, a synthetic regression), digits, diabetes, sphere.
    points
        Number of data points.
    inputs
        Number of inputs, for data that are made: teacher and sphere.
    bias
        Append a coordinate 1 to every point.
    activation
        Of all hidden layers, as in Tanh or Erf.
    layers
        Layers L, the output included; 3 or more.
    correlated
        Correlated initial weights instead of independent ones.
    loss
        For the rates, as in Huber or PseudoHuber:delta=2.
    losses
        Which should vanish; Huber and BoundedQuadratic unless told otherwise.
    epsilon
        Size ε of a step in limit time.
    learning_rate
        α, in limit time.
    widths
        Neurons of every hidden layer over which rates are fitted, increasing.
    reference
        Neurons per layer of the limit, eight times the widest network or more.
    replicas
        Networks per width.
    step_replicas
        Networks per step size.
    spread_replicas
        Networks per width for the diversity of neurons.
    spread_widths
        Widths for the diversity of neurons.
    ts
        Save times in limit time, starting at 0.
    end
        How long networks train for the loss to vanish.
    seed
        Seed of all randomness.
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
        "layers": layers,
        "correlated": correlated or None,
        "loss": loss,
        "losses": losses,
        "epsilon": epsilon,
        "learning_rate": learning_rate,
        "widths": widths,
        "reference": reference,
        "replicas": replicas,
        "step_replicas": step_replicas,
        "spread_replicas": spread_replicas,
        "spread_widths": spread_widths,
        "ts": ts,
        "end": end,
        "seed": seed,
    }
    settings, _ = merged(studies.multilayer_settings, config, flags)
    with right_kinds():
        settings["data"] = points_table(settings["data"], None, data, points, inputs, bias)
    return finish(built(settings, studies.multilayer_from), out, json, store, shard)
