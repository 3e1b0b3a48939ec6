"""Every study runs from and into a store: the claims of a run without one, and no network simulated twice."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.studies import _call

KEY = jax.random.key(7)
ONE = jax.devices()[:1]
SHALLOW = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
SPHERE = jl.data.sphere(points=3, inputs=2)
normal, tanh = jl.initial.Normal, jl.activations.Tanh()

STUDIES = {
    "mean_field": (
        jl.Problem(SPHERE, SHALLOW, scaling=jl.MeanField()),
        {
            "replicas": 16,
            "law_width": 16,
            "path_replicas": 8,
            "measure_replicas": 8,
            "particles": 128,
            "ts": (0.0, 1.0),
            "widths": (16,),
            "measure_widths": (16,),
        },
    ),
    "normalisation": (
        jl.Problem(SPHERE, SHALLOW),
        {
            "replicas": 16,
            "path_replicas": 8,
            "law_width": 16,
            "widths": (8, 16, 32),
            "particles": 128,
            "gammas": (0.5, 0.75),
            "ts": (0.0, 2.0),
        },
    ),
    "multilayer": (
        jl.Problem(
            SPHERE,
            jl.networks.Multilayer(
                (tanh, tanh), jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
            ),
            jl.LayerwiseMeanField(0.05),
            jl.Huber(),
        ),
        {
            "widths": (4,),
            "reference": 32,
            "replicas": 8,
            "step_width": 4,
            "step_replicas": 8,
            "end": 1.0,
            "resolutions": (10,),
            "spread_widths": (8,),
            "loss_width": 8,
            "ts": (0.0, 1.0),
        },
    ),
    "min_norm": (
        jl.Problem(
            jl.data.sphere(points=3, inputs=4),
            jl.networks.Shallow(jl.activations.Relu(), jl.Initial(c=jl.initial.Rademacher()), train_output=False),
            jl.FixedStep(0.5),
        ),
        {"widths": (16, 32), "replicas": 2, "steps": 20},
    ),
    "mild": (
        jl.Problem(
            jl.data.aligned(points=4, inputs=3),
            jl.networks.Shallow(
                jl.activations.Relu(), jl.Initial(jl.initial.Rademacher(), normal(0, 0.001), width_power=-0.5)
            ),
            jl.FixedStep(0.5, gamma=0),
        ),
        {
            "widths": (8, 16),
            "replicas": 2,
            "descent_replicas": 2,
            "starts": 10,
            "etas": (0.5,),
            "losses": (jl.SquaredError(),),
            "partition_width": 8,
            "step_width": 8,
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_second_run_simulates_nothing_and_says_the_same(name, tmp_path, monkeypatch):
    problem, settings = STUDIES[name]
    study = getattr(jl.studies, name)
    plain = study(problem, key=KEY, devices=ONE, **settings)
    seen = []
    first = study(problem, key=KEY, devices=ONE, **settings, store=tmp_path, progress=lambda *at: seen.append(at))
    monkeypatch.setattr(_call, "simulate", lambda *_, **__: pytest.fail("a network is simulated again"))
    again = study(problem, key=KEY, devices=ONE, **settings, store=jl.studies.RunStore(tmp_path))
    for report in (first, again):
        assert report.claims == plain.claims
        assert report.remarks == plain.remarks
        assert report.configuration == plain.configuration
        assert report.arrays.keys() == plain.arrays.keys()
        for key, array in plain.arrays.items():
            np.testing.assert_array_equal(report.arrays[key], array, err_msg=key)
    shares = [done / total for done, total in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


class EnoughError(Exception):
    """The calls are known, and nothing needs to be simulated."""


def test_widths_and_exponents_that_are_added_change_no_other_run(monkeypatch):
    """What identifies a run is its own, and not its place in a list."""
    asked = []

    def simulated(calls, *_):
        asked.append(calls)
        raise EnoughError

    monkeypatch.setattr(jl.studies._normalisation, "simulated", simulated)
    problem, settings = STUDIES["normalisation"]
    for changes in ({}, {"gammas": (0.5, 0.6, 0.75), "widths": (8, 16, 24, 32)}):
        with pytest.raises(EnoughError):
            jl.studies.normalisation(problem, key=KEY, **{**settings, **changes})
    few, many = ({jl.sweeps.identity(call.described()) for call in calls} for calls in asked)
    assert len(few) == 8
    assert few < many
