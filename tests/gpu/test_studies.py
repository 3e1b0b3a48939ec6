"""Theorems and sweeps on a device: verdicts, and stores from which nothing is simulated twice."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _call
from tests.gpu.sizes import KEY, sizes

ONE = jax.devices()[:1]


def question():
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
    return jl.Problem(jl.data.sphere(points=4, inputs=3), network)


def violated(report):
    return [claim.name for claim in report.claims if claim.verdict is Verdict.VIOLATED]


FEW = {"widths": (16, 32), "replicas": 32, "path_replicas": 8, "method": jl.Stepwise(lanes=8)}
MANY = {"widths": (256, 512, 1024), "replicas": 4096}


@pytest.mark.parametrize("settings", sizes(FEW, MANY, pytest.mark.slow))
def test_the_study_of_the_xavier_limit_violates_nothing_and_is_read_from_its_store(settings, tmp_path, monkeypatch):
    def study():
        return jl.studies.xavier(question(), key=KEY, ts=(0.0, 1.0), devices=ONE, store=tmp_path, **settings)

    first = study()
    assert violated(first) == []
    assert any(claim.verdict is Verdict.HOLDS for claim in first.claims)
    monkeypatch.setattr(_call, "simulate", lambda *_, **__: pytest.fail("a network is simulated again"))
    again = study()
    assert again.claims == first.claims
    for name, array in first.arrays.items():
        assert np.array_equal(again.arrays[name], array), name


COARSE = {
    "widths": (8, 16, 32),
    "law_width": 16,
    "replicas": 16,
    "path_replicas": 8,
    "particles": 128,
    "method": jl.Stepwise(lanes=8),
}
FINE = {"widths": (64, 128, 256), "law_width": 256, "replicas": 4096, "path_replicas": 1024, "particles": 4096}


@pytest.mark.parametrize("settings", sizes(COARSE, FINE, pytest.mark.slow))
def test_the_study_of_normalisations_violates_nothing(settings):
    report = jl.studies.normalisation(question(), key=KEY, gammas=(0.5, 1.0), ts=(0.0, 2.0), devices=ONE, **settings)
    assert violated(report) == []
    assert {claim.name for claim in report.claims} >= {"variance γ = 0.5", "variance γ = 1"}


SMALL = {"replicas": 6, "block": 4, "width": 8, "method": {"name": "Stepwise", "lanes": 4, "native": False}}
LARGE = {
    "replicas": 3072,
    "block": 2048,
    "width": 512,
    "method": {"name": "SStep", "block": 64, "lanes": 1024, "native": False},
}


@pytest.mark.parametrize("settings", sizes(SMALL, LARGE, pytest.mark.slow))
def test_a_sweep_that_is_stopped_has_the_bytes_of_one_that_is_not_and_the_bits_of_simulate(settings, tmp_path):
    sphere = {"source": "sphere", "points": 3, "inputs": 2}
    axes = {"scaling.gamma": [0.5, 0.75]}
    spec = jl.studies.sweep_spec({**settings, "data": sphere, "ts": [0.0, 1.0], "axes": axes, "observe": ["movement"]})
    whole, stopped = (jl.sweeps.Store.create(tmp_path / name, spec) for name in ("whole", "stopped"))
    jl.sweeps.run(whole, jl.studies.sweep_block)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jl.sweeps.run(stopped, jl.studies.sweep_block, progress=stop)
    assert 0 < len(stopped.present()) < 4
    jl.sweeps.run(stopped, jl.studies.sweep_block)
    blocks, others = (
        {path.relative_to(store.folder): path.read_bytes() for path in store.blocks.every()}
        for store in (whole, stopped)
    )
    assert len(blocks) == 4
    assert blocks == others
    for number, cell in enumerate(spec.cells):
        found = jl.studies.sweep_run(cell.settings)
        again = jl.simulate(found.problem, found.width, found.ts, replicas=settings["replicas"], **found.arguments)
        assert np.array_equal(jl.studies.sweep_samples(whole, number).values, again.values)
