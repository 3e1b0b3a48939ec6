"""Networks in sweeps: the bits of a grid do not depend on when it was stopped, nor on who computed it."""

import pytest

from jaxlimit import studies, sweeps
from tests.sweeps.stores import blocks, contents

MADE = {
    "data": {"source": "sphere", "points": 3, "inputs": 2},
    "replicas": 12,
    "block": 8,
    "ts": [0.0, 0.5],
    "observe": ["movement"],
    "axes": {"width": [8, 16], "scaling.gamma": [0.5, 1.0]},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    store = sweeps.Store.create(tmp_path_factory.mktemp("whole"), studies.sweep_spec(MADE))
    sweeps.run(store, studies.sweep_block)
    return store


@pytest.mark.slow
def test_a_sweep_of_networks_that_is_stopped_again_and_again_has_the_same_bytes(tmp_path, whole):
    store = sweeps.Store.create(tmp_path, whole.spec)

    def stops(moment):
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            sweeps.run(store, studies.sweep_block, progress=stops)
    assert len(store.present()) == 3
    assert sweeps.run(store, studies.sweep_block).blocks == 5
    assert blocks(tmp_path) == blocks(whole.folder)
    assert contents(sweeps.consolidate(store), "values/**/*") == contents(sweeps.consolidate(whole), "values/**/*")
    assert sweeps.verify(tmp_path) == []


@pytest.mark.slow
def test_spawned_processes_make_networks_of_the_same_bytes(tmp_path, whole):
    store = sweeps.Store.create(tmp_path, whole.spec)
    with sweeps.processes(2) as executor:
        assert sweeps.run(store, studies.sweep_block, executor=executor).blocks == 8
    assert blocks(tmp_path) == blocks(whole.folder)


@pytest.mark.slow
def test_a_larger_sweep_of_networks_begins_with_the_blocks_of_a_smaller_one(tmp_path, whole):
    larger = sweeps.Store.create(tmp_path / "larger", studies.sweep_spec({**MADE, "replicas": 16}))
    assert larger.adopt(whole) == 4
    assert sweeps.run(larger, studies.sweep_block).blocks == 4
    first, second = (sweeps.dataset(store.folder)["values"].values[:, :, :12] for store in (whole, larger))
    assert (first == second).all()
