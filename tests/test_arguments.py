"""Checks of arguments: what passes is converted exactly, what does not is named; and a process without x64."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit import _arguments as arguments


def refused(name):
    return pytest.raises(ValueError, match=rf"^Argument `{name}` must .+, but .+\.$")


@pytest.mark.parametrize("value", [1, np.int32(7), np.int64(2**40)])
def test_positive_integers_pass(value):
    result = arguments.positive_integer("n", value)
    assert type(result) is int
    assert result == value


@pytest.mark.parametrize(
    "value", [0, -3, True, np.True_, 2.0, np.float64(3), "4", None, np.array([1, 2]), np.array(3), jnp.array(3)]
)
def test_everything_else_is_no_positive_integer(value):
    with refused("n"):
        arguments.positive_integer("n", value)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.25), np.int64(3), 5e-324])
def test_positive_numbers_pass(value):
    assert arguments.positive_number("a", value) == float(value)


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, np.nan, np.inf, -np.inf, True, "1", None, 1j, np.array([1.0])])
def test_everything_else_is_no_positive_number(value):
    with refused("a"):
        arguments.positive_number("a", value)


@pytest.mark.parametrize("value", [-3, 0.0, -2.5, np.float32(0.25), np.int64(-7), 1e308])
def test_finite_numbers_pass(value):
    assert arguments.finite_number("a", value) == float(value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, True, "1", None, 1j, np.array([1.0]), 10**400, -(10**400)])
def test_everything_else_is_no_finite_number(value):
    with refused("a"):
        arguments.finite_number("a", value)
    with refused("a"):
        arguments.positive_number("a", value)


def test_zero_passes_where_it_is_allowed():
    assert arguments.positive_number("a", 0.0, zero=True) == 0.0
    with refused("a"):
        arguments.positive_number("a", -1e-300, zero=True)


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        np.array([[0.1, 0.2]]),
        np.array([[0.1]], np.float32),
        np.array([[True, False]]),
        jnp.array([[0.1, 0.2]], jnp.bfloat16),
        jnp.array([[0.1, 0.2]], jnp.float64),
    ],
)
def test_real_arrays_become_float64_exactly(value):
    result = arguments.real_array("x", value, 2)
    assert result.dtype == np.float64
    assert np.array_equal(result, np.asarray(value).astype(np.float64))


def test_a_real_array_is_a_copy():
    original = np.ones((2, 2))
    arguments.real_array("x", original, 2)[0, 0] = 5.0
    assert original[0, 0] == 1.0


@pytest.mark.parametrize(
    "value",
    [
        [1.0, 2.0],
        [[[1.0]]],
        np.zeros((0, 2)),
        [[1.0, np.nan]],
        [[np.inf, 0.0]],
        [[1j, 0.0]],
        [["a", "b"]],
        [[None, 1.0]],
        np.array([[{}]]),
        None,
        [[1.0, 2.0], [3.0]],
    ],
    ids=str,
)
def test_everything_else_is_no_real_matrix(value):
    with refused("x"):
        arguments.real_array("x", value, 2)


def test_any_shape_passes_where_none_is_asked_for():
    for value in (2.0, [1.0, 2.0], np.ones((2, 1, 3)), np.zeros((0, 3))):
        assert np.array_equal(arguments.real_array("x", value, None), np.asarray(value))
    for value in ([1.0, np.nan], "a", None, [[1.0, 2.0], [3.0]], 1j):
        with refused("x"):
            arguments.real_array("x", value, None)


def test_a_class_in_place_of_an_object_is_called_a_class():
    with pytest.raises(ValueError, match=r"^Argument `data` must be a Data, but it is the class Data\.$"):
        arguments.instance("data", jl.Data, jl.Data)


def test_the_message_counts_what_is_not_finite():
    with pytest.raises(ValueError, match="2 of its 3 entries are NaN or infinite"):
        arguments.real_array("x", [1.0, np.nan, np.inf], 1)


@pytest.mark.parametrize("ts", [[-1.0, 0.0], [1.0, 0.5], [0.0, 0.0], [], [[0.0]], 1.0, [0.0, np.nan], [0.0, np.inf]])
def test_times_out_of_order_are_refused(ts):
    with refused("ts"):
        arguments.save_times(ts)


def test_times_in_order_pass():
    assert arguments.save_times((0, 0.5, 2)).tolist() == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    "key",
    [
        0,
        None,
        np.zeros(2, np.uint32),
        pytest.param("legacy", id="legacy"),
        pytest.param("batch", id="batch"),
        pytest.param("rbg", id="rbg"),
        pytest.param("unsafe_rbg", id="unsafe_rbg"),
    ],
    ids=str,
)
def test_only_single_typed_keys_pass(key):
    kinds = ("rbg", "unsafe_rbg")  # they draw for a lane of keys what they draw for no key alone
    made = {"legacy": lambda: jax.random.PRNGKey(0), "batch": lambda: jax.random.split(jax.random.key(0), 3)}
    made |= {kind: lambda kind=kind: jax.random.key(0, impl=kind) for kind in kinds}
    key = made.get(key if isinstance(key, str) else "", lambda: key)()
    with refused("key"):
        arguments.random_key(key)


def test_a_typed_key_passes():
    key = jax.random.key(3)
    assert arguments.random_key(key) is key


@pytest.mark.parametrize(
    "dtype", [np.float16, jnp.bfloat16, np.int32, np.complex64, bool, None, "foo", "(1,2", 3, [], object()]
)
def test_other_precisions_are_refused(dtype):
    with refused("dtype"):
        arguments.float_dtype(dtype)


@pytest.mark.parametrize("dtype", ["float32", np.float32, jnp.float32, np.dtype("float64"), jnp.float64])
def test_float32_and_float64_pass(dtype):
    assert arguments.float_dtype(dtype) == np.dtype(dtype)


@pytest.mark.parametrize("widths", [[], [4, 4], [8, 4], [0, 1], [1.0, 2.0], [True, 2], 64, None, "64"])
def test_widths_out_of_order_are_refused(widths):
    with refused("widths"):
        arguments.widths_in_order(widths)


@pytest.mark.parametrize("array", [np.array, jnp.array])
def test_widths_may_be_an_array(array):
    assert arguments.widths_in_order(array([4, 8])) == (4, 8)


def test_without_x64_the_main_path_runs_in_float32_and_refuses_float64():
    """A fresh process with JAX's defaults: no flag, one device, standard promotion."""
    script = """
        import numpy as np, jax, jaxlimit as jl

        data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
        network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
        problem = jl.Problem(data, network)
        samples = jl.simulate(problem, 64, [0.0, 1.0], replicas=3, key=jax.random.key(0), at=[[0.1, 0.2]])
        assert samples.values.dtype == np.float32 and np.all(np.isfinite(samples.values))

        # Host-side mathematics is float64 all the same, to the digits printed in the references.
        limit = jl.SpectralLimit(problem, rule=jl.kernels.Quadrature())
        law = limit.law([2.0])
        assert law.mean.dtype == np.float64
        assert np.max(np.abs(law.mean - [[0.0728924550, -0.0728924550, -0.0768768499]])) < 1e-10
        assert limit.certificate().status is jl.kernels.CertificateStatus.PROVED_PD

        path = jl.OdeLimit(problem, rule=jl.kernels.Quadrature()).path(np.zeros(3), [2.0])
        assert path.dtype == np.float32 and np.max(np.abs(path - law.mean)) < 1e-3

        for refused in (
            lambda: jl.simulate(problem, 64, [1.0], replicas=3, key=jax.random.key(0), dtype=np.float64),
            lambda: jl.OdeLimit(problem, rule=jl.kernels.Quadrature(), dtype=np.float64),
        ):
            try:
                refused()
            except ValueError as error:
                assert str(error).startswith("Argument `dtype` must") and "JAX_ENABLE_X64" in str(error), error
            else:
                raise AssertionError("float64 was not refused")
        assert not jax.config.jax_enable_x64
        print("float32", samples.values[0, -1, 0])
    """
    names = ("JAX_ENABLE_X64", "JAX_NUM_CPU_DEVICES", "JAX_NUMPY_DTYPE_PROMOTION", "XLA_FLAGS")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    result = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("float32")


def test_an_instance_is_asked_for_and_refused_in_english():
    for value, kind, text in (
        (3, jl.activations.Erf, "must be an Erf, but it is an int"),
        (jl.activations.Erf(), jl.initial.Uniform, "must be a Uniform, but it is an Erf"),
        (jl.scalings.Xavier, jl.scalings.AbstractScaling, "but it is the function Xavier (call it: Xavier())"),
        (jl.activations.Erf, jl.activations.AbstractActivation, "but it is the class Erf (call it: Erf())"),
        (jl.activations.Hermite, jl.activations.AbstractActivation, "but it is the class Hermite."),
        (jl.activations.Erf, jl.initial.Uniform, "but it is the class Erf."),
        (jl.scalings.AbstractScaling, jl.scalings.AbstractScaling, "but it is the class AbstractScaling."),
    ):
        with pytest.raises(ValueError, match=r"^Argument `a` must be an? ") as refusal:
            arguments.instance("a", value, kind)
        assert text in str(refusal.value)
