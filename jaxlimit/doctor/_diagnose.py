"""What this machine offers, and whether it keeps the promises that results rest on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from jaxlimit._devices import cores, facts, known_kind
from jaxlimit._versions import versions
from jaxlimit.activations import Erf
from jaxlimit.data import sphere
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.simulation import SStep, Stepwise, plan, simulate

WIDTH = 4096
"""At which it is said how many replicas go together."""


class Finding(NamedTuple):
    """One line of a diagnosis; `ok` is None where there is nothing to pass or fail."""

    name: str
    text: str
    ok: bool | None = None


def diagnose() -> list[Finding]:
    """Versions, devices, what is known of them, precision of products, and the lane self-check.

    `precision` asks which digits that leaves of a conclusion.

    >>> import jaxlimit as jl
    >>> all(finding.ok is not False for finding in jl.doctor.diagnose())
    True
    """
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    devices = ", ".join(f"{d.platform}:{d.id} {d.device_kind}" for d in jax.local_devices())
    wide = jax.config.read("jax_enable_x64")
    return [
        Finding("versions", found),
        Finding("devices", f"{devices} ({cores()} cores for the CPU)"),
        *(_kind(kind) for kind in dict.fromkeys(_kind_of(device) for device in jax.local_devices())),
        Finding("compiled programs", _kept()),
        Finding("64-bit types", "on" if wide else "off: simulate in float32 only (JAX_ENABLE_X64)"),
        _products(),
        Finding("loop over steps", _loop()),
        *_lanes(),
    ]


def _kind_of(device: jax.Device) -> tuple[str, str]:
    return device.platform, device.device_kind


def _kind(kind: tuple[str, str]) -> Finding:
    """What follows from a kind of device: how many replicas go together."""
    device = next(one for one in jax.local_devices() if _kind_of(one) == kind)
    problem, foreseen = Problem(sphere(points=4, inputs=3), Shallow(Erf())), []
    for method in (Stepwise(), SStep()):
        lanes = plan(problem, WIDTH, [0.0, 2.0], key=jax.random.key(0), method=method, devices=[device]).lanes
        foreseen.append(f"{lanes} by {type(method).__name__}")
    lanes_text = f"lanes at width {WIDTH} for 4 points: {', '.join(foreseen)}"
    return Finding(f"kind {kind[1]}", f"{known(device)}; {lanes_text}")


def known(device: jax.Device) -> str:
    """What the table of facts and the device itself say of it."""
    if device.platform == "cpu":
        return "a CPU: lanes follow from its cache"
    found, memory = known_kind(device), (device.memory_stats() or {}).get("bytes_limit")
    size = facts([device]).memory
    told = f"known as `{found}`, of" if found else "of no known kind, taken for a small one of"
    own = "does not tell its own" if memory is None else f"says it has {memory / 1e9:.3g}"
    return f"{told} {size / 1e9:.3g} GB; it {own}"


def _kept() -> str:
    folder: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return f"kept in {folder}" if folder else "not kept: set JAX_COMPILATION_CACHE_DIR to a folder to keep them"


def _loop() -> str:
    problem = Problem(sphere(points=4, inputs=3), Shallow(Erf()))
    by = simulate(problem, 64, [0.0], replicas=1, key=jax.random.key(0), method=Stepwise()).method
    advice = "" if "True" in by else "; on CPUs the extra `numba` doubles its speed"
    return f"{by} in float32{advice}"


def _products() -> Finding:
    """TF32 products would be off by 1e-4 to 1e-3 and fake a violation of the limit theorem."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, 128, 128))
    exact = left.astype(np.float32).astype(np.float64) @ right.astype(np.float32).astype(np.float64)
    product = jnp.matmul(left.astype(np.float32), right.astype(np.float32), precision=Precision.HIGHEST)
    error = float(np.max(np.abs(np.asarray(product, np.float64) - exact)) / np.max(np.abs(exact)))
    return Finding("float32 products", f"largest error {error:.1e} of the largest entry", error < 5e-6)


def _lanes() -> list[Finding]:
    """Bits must depend on the lane width only: not on replicas, padding, workers or devices."""
    problem = Problem(sphere(points=4, inputs=3), Shallow(Erf()))
    method, key = Stepwise(lanes=4), jax.random.key(0)

    def outputs(replicas: int, devices: list[jax.Device] | None) -> np.ndarray:
        run = simulate(problem, 64, [0.0, 2.0], replicas=replicas, key=key, method=method, devices=devices)
        return np.asarray(run.values)

    many, few = outputs(11, None), outputs(6, None)
    findings = [Finding("lanes: padding", "6 replicas against the first 6 of 11", np.array_equal(few, many[:6]))]
    alone = outputs(11, jax.local_devices()[:1])
    count = len(jax.local_devices())
    if count == 1:
        return [*findings, Finding("lanes: devices", "one device: nothing to compare")]
    return [*findings, Finding("lanes: devices", f"1 device against {count}", np.array_equal(alone, many))]
