"""Where there is no accelerator, these tests take an accelerator's paths on the CPU: the code is that of the card."""

import jax
import pytest

from jaxlimit.simulation import _native
from jaxlimit.simulation._state import Run


@pytest.fixture(scope="module", autouse=True)
def paths_of_an_accelerator():
    """Replicas of a lane together, the steps of a block in chunks, no loops of numba; a card does so by itself."""
    with pytest.MonkeyPatch.context() as patch:
        if jax.default_backend() == "cpu":
            patch.setattr(Run, "on_cpus", False)
            patch.setattr(_native, "missing", lambda *_: "accelerators have no native loops")
        yield
