"""The limits that compute on a device lower for CUDA and TPU, with their products at full precision.

diffrax checks the order of the save times on the host, by a call of Python in a branch that is taken where they are
wrong; `jax.export` refuses the call wherever it stands. The programs without these checks are lowered in a process
where equinox leaves them out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import numpy as np
import pytest

from jaxlimit.limits import _ode
from tests.limits import programs
from tests.lowering import PLATFORMS, findings, foreign

ROOT = Path(__file__).resolve().parents[2]
BY_DIFFRAX = [name for name in programs.LIMITS if name != "fluctuation"]
SLOW = ("ode, implicit", "mean field, particles", "multilayer", "multilayer, parameters")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_influence_of_every_particle_lowers(dtype):
    function, arrays = programs.program("fluctuation", dtype)
    assert foreign(function, dtype, arrays) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in BY_DIFFRAX]
)
def test_a_solve_calls_the_host_for_the_checks_of_diffrax_and_nothing_else(name):
    """As it lowers for this machine, where Python may be called."""
    function, arrays = programs.program(name, np.float32)
    text = jax.jit(function).lower(arrays).as_text()
    # With the flag diffrax counts its steps, and weighs its decisions, in 64 bits.
    ours = [one for one in findings(text, np.float32) if "float64: " not in one and not one.startswith("int64: ")]
    assert [one for one in ours if not one.startswith("calls lapack")] == ["calls xla_ffi_python_cpu_callback"]


def lowered(dtype, flag):
    """What the script finds in a process of its own."""
    own = {"EQX_ON_ERROR": "off", "JAX_ENABLE_X64": flag, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(ROOT / "tests" / "limits" / "programs.py"), dtype]
    done = subprocess.run(command, env=os.environ | own, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_every_limit_lowers_in_float32():
    found = lowered("float32", "0")
    assert found == {name: [] for name in programs.LIMITS}


@pytest.mark.slow
def test_every_limit_lowers_in_float64():
    """But for the integers in which diffrax counts."""
    found = lowered("float64", "1")
    assert set(found) == set(programs.LIMITS)
    for name, foreign_ones in found.items():
        assert all(": int64: " in one for one in foreign_ones), name


def test_short_products_would_be_found(monkeypatch):
    """The field of the differential equation as it once was."""
    raw = _ode._solve.__wrapped__
    monkeypatch.setattr(_ode, "Precision", SimpleNamespace(HIGHEST=jax.lax.Precision.DEFAULT))
    monkeypatch.setattr(_ode, "_solve", eqx.filter_jit(lambda *given: raw(*given)))  # nothing of it has been traced
    function, arrays = programs.program("ode", np.float32)
    text = jax.jit(function).lower(arrays).as_text()
    assert any(one.startswith("short products: ") for one in findings(text, np.float32))


def test_the_checks_of_diffrax_are_refused_on_every_platform():
    function, arrays = programs.program("epsilon flow", np.float32)
    found = foreign(function, np.float32, arrays)
    assert [one[: one.index("refused")] for one in found] == [f"{name}: is " for name in PLATFORMS]
