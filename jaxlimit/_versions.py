"""Which versions made a number: the packages whose arithmetic or drawing a result passes through."""

import importlib.metadata
import platform

PACKAGES = ("jaxlimit", "jax", "jaxlib", "equinox", "diffrax", "optax", "chex", "numpy", "scipy", "numba", "matplotlib")


def versions() -> dict[str, str]:
    """Python's version and that of every package, "not installed" where there is none."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
