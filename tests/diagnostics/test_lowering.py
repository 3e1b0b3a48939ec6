"""Diagnostics that run on a device lower for CUDA and TPU, of one network and of many at many times."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit import diagnostics
from jaxlimit.diagnostics import _diversity
from jaxlimit.networks import Layers, Neurons
from tests import systems
from tests.lowering import foreign

DATA = jl.Data(systems.FULL_X, systems.FULL_Y)
ERF = jl.networks.Shallow(jl.activations.Erf())
SHAPES = [(64,), (3, 2, 64)]
DTYPES = [np.float32, np.float64]


def array(dtype, *shape):
    """Only shapes count: nothing is computed."""
    return jax.ShapeDtypeStruct(shape, dtype)


def neurons(dtype, *shape):
    return Neurons(array(dtype, *shape), array(dtype, *shape, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", [diagnostics.neuron_partition, diagnostics.neuron_patterns])
def test_partitions_of_neurons_lower(function, shape, dtype):
    assert foreign(lambda p: function(p, DATA), dtype, neurons(dtype, *shape)) == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_movement_lowers(dtype):
    given = neurons(dtype, 64)
    assert foreign(diagnostics.movement, dtype, given, given) == []
    deep = Layers((array(dtype, 8, 3), array(dtype, 8, 6), array(dtype, 6)), (array(dtype, 8), array(dtype, 6)))
    assert foreign(diagnostics.movement, dtype, deep, deep) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_at_the_data_lowers(shape, dtype):
    given = neurons(dtype, *shape)
    kernel = diagnostics.EmpiricalKernel(ERF, DATA.x)
    assert foreign(lambda now, start: kernel(now, start), dtype, given, given) == []


@pytest.mark.parametrize("inputs", [2, 20])
def test_distances_to_the_nearest_neuron_lower(inputs):
    points, rows = array(np.float32, 4096, inputs), array(np.float32, 10_000, inputs)
    assert foreign(_diversity._nearest, np.float32, points, rows) == []
