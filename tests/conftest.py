"""Settings that must be in place before JAX is imported, and the marker for accelerators.

float64 serves as the reference of float32; four CPU devices stand in for a machine with several; strict
promotion turns every silent mixture of types into an error. The package itself sets nothing: one test
(`test_arguments.py`) runs it in a fresh process without any of this.

What XLA has compiled is kept in a folder of the checkout, which may be deleted at any time. JAX looks programs up by
all that makes them what they are, so no test passes by a program that the code no longer makes.
"""

import contextlib
import gc
import os
from pathlib import Path

os.environ["JAX_ENABLE_X64"] = "1"
os.environ["JAX_NUM_CPU_DEVICES"] = "4"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import pytest
import scipy.linalg  # noqa: F401 - its BLAS is another one than NumPy's

with contextlib.suppress(ImportError):  # a machine with an accelerator may have the core alone
    import threadpoolctl

    # A test process for each core: threads of BLAS would wait for each other, for as long as the work itself takes.
    threadpoolctl.threadpool_limits(1, user_api="blas")

STUDIES = Path(__file__).resolve().parents[1] / "jaxlimit" / "studies"
"""Whose examples are studies of their own, of a minute's compilation between them."""
MAPS = 20_000
"""Memory maps of a process at which compiled programs are let go; a file of tests adds a few thousand at most."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, pytest.DoctestItem) and STUDIES in item.path.parents:
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow") and (item.path.parent.name == "gpu" or item.path.name == "test_lowering.py"):
            item.add_marker(pytest.mark.exhaustive)
    if any(device.platform != "cpu" for device in jax.devices()):
        return
    for item in items:
        if item.get_closest_marker("gpu"):  # keywords name the folders too
            item.add_marker(pytest.mark.skip(reason="needs an accelerator"))


@pytest.fixture(scope="session", autouse=True)
def the_settings_have_arrived():
    """Setting a variable too late would be silent: the tests would run in float32 on one device."""
    assert jax.config.jax_enable_x64
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    assert len(jax.devices("cpu")) == 4


@pytest.fixture(scope="module", autouse=True)
def room_for_compiled_programs():
    """Every compiled program takes memory maps, of which Linux grants a process 65,530; beyond them XLA crashes."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MAPS:
        jax.clear_caches()
        gc.collect()
