"""What is known of devices before anything runs on them: how many there are, and what their makers say of their speed.

How many replicas go together decides on bits, so it must not depend on a measurement or on what else a device holds
just now: it follows from the kind of the device alone, by figures of data sheets. Free memory only refuses.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from jaxlimit._arguments import items, require


class Facts(NamedTuple):
    """A kind of accelerator: bytes of its memory, bytes a second to and from it, float32 operations a second.

    `operations` are those of products at full precision: of a TPU six passes of its bfloat16 unit. `launch` is about
    how many seconds pass between the beginnings of two small kernels of which one waits for the other, as is commonly
    measured; the rest is from data sheets, rounded.
    """

    memory: float
    bandwidth: float
    operations: float
    launch: float


GPU, TPU = 3e-6, 1e-6
"""Seconds of a launch."""

KINDS = {
    "B300": Facts(288e9, 8.0e12, 75e12, GPU),
    "B200": Facts(180e9, 8.0e12, 75e12, GPU),
    "GB200": Facts(186e9, 8.0e12, 75e12, GPU),
    "H200": Facts(141e9, 4.8e12, 67e12, GPU),
    "GH200": Facts(96e9, 4.0e12, 67e12, GPU),
    "H100 PCIe": Facts(80e9, 2.0e12, 51e12, GPU),
    "H100": Facts(80e9, 3.35e12, 67e12, GPU),
    "A100-SXM4-80GB": Facts(80e9, 2.0e12, 19.5e12, GPU),
    "A100 80GB": Facts(80e9, 1.9e12, 19.5e12, GPU),
    "A100": Facts(40e9, 1.55e12, 19.5e12, GPU),
    "A40": Facts(48e9, 0.70e12, 37e12, GPU),
    "L40S": Facts(48e9, 0.86e12, 92e12, GPU),
    "L40": Facts(48e9, 0.86e12, 90e12, GPU),
    "L4": Facts(24e9, 0.30e12, 30e12, GPU),
    "V100": Facts(16e9, 0.90e12, 15.7e12, GPU),
    "T4": Facts(16e9, 0.32e12, 8.1e12, GPU),
    "RTX 5090": Facts(32e9, 1.8e12, 105e12, GPU),
    "RTX 4090": Facts(24e9, 1.0e12, 83e12, GPU),
    "RTX 3090": Facts(24e9, 0.94e12, 36e12, GPU),
    "TPU v4": Facts(32e9, 1.2e12, 46e12, TPU),
    "TPU v5 lite": Facts(16e9, 0.82e12, 33e12, TPU),
    "TPU v5e": Facts(16e9, 0.82e12, 33e12, TPU),
    "TPU v5": Facts(95e9, 2.77e12, 76e12, TPU),
    "TPU v5p": Facts(95e9, 2.77e12, 76e12, TPU),
    "TPU v6 lite": Facts(32e9, 1.64e12, 153e12, TPU),
    "TPU v6e": Facts(32e9, 1.64e12, 153e12, TPU),
    "TPU7x": Facts(96e9, 3.7e12, 190e12, TPU),
}
"""By words of `jax.Device.device_kind`; the longest that occurs in it counts."""

PARTS = ("MIG", "Laptop", "Mobile", "Max-Q")
"""Words of kinds that have a part of what the other words promise: they are none of the table's."""

UNKNOWN = Facts(16e9, 0.5e12, 10e12, GPU)
"""A kind that is not in the table is taken for one of 16 GB; where it has less, a lane too wide for it is refused."""


class DeviceMemoryError(MemoryError):
    """A device has too little memory for a run as it was asked for: of no concern to other runs."""


def known_kind(device: jax.Device) -> str | None:
    """The words of the table that name this device's kind; None where there are none."""

    def said(words: str) -> bool:
        return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", device.device_kind, re.IGNORECASE) is not None

    names = [] if any(map(said, PARTS)) else [name for name in KINDS if said(name)]
    return max(names, key=len, default=None)


def facts(devices: Sequence[jax.Device]) -> Facts:
    """The least of every figure over these accelerators: lanes are as wide on all of them."""
    each = [UNKNOWN if (name := known_kind(device)) is None else KINDS[name] for device in devices]
    each = each or [UNKNOWN]
    slowest = max(one.launch for one in each)
    return Facts(*(min(figures) for figures in zip(*each, strict=True)))._replace(launch=slowest)


def chosen_devices(devices: Sequence[jax.Device] | None) -> tuple[jax.Device, ...]:
    """The given devices, or all local devices of JAX's default backend."""
    if devices is None:
        return tuple(jax.local_devices())
    given = items("devices", devices, "JAX devices")
    fits = len(given) > 0 and all(isinstance(d, jax.Device) for d in given) and len(set(given)) == len(given)
    require(fits, "devices", "be a non-empty sequence of distinct JAX devices", f"it is {devices!r}")
    return given


def kinds(devices: Sequence[jax.Device]) -> str:
    """What made a result: the kinds of these devices, each named once."""
    names = (d.platform if d.device_kind == d.platform else f"{d.platform} {d.device_kind}" for d in devices)
    return " + ".join(dict.fromkeys(names))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_on_host() -> int | None:
    """Free bytes of this machine, or of the control group a scheduler put the process into; None if unknown."""
    found = []
    memory = Path("/proc/meminfo")
    if memory.exists():
        lines = dict(line.split(":", 1) for line in memory.read_text().splitlines() if ":" in line)
        if "MemAvailable" in lines:
            found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), int((group / "memory.current").read_text())
        cache = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if limit != "max":
            found.append(max(0, int(limit) - used + int(cache.get("inactive_file", 0))))
    except (OSError, ValueError):  # not Linux, or another version of control groups
        pass
    return min(found) if found else None


def available_on_device(device: jax.Device) -> int | None:
    """Free bytes of an accelerator; None where the device does not say."""
    stats = device.memory_stats() or {} if device.platform != "cpu" else {}
    if "bytes_limit" not in stats:
        return None
    return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))


def require_room_for_draws(neurons: int, inputs: int) -> None:
    """Raise ``ValueError`` unless four fifths of the free memory hold (c, w) in float32 and the bits they come from."""
    room, needed = available_on_host(), 8 * neurons * (inputs + 1)
    if room is not None:
        have = f"{needed / 2**30:.1f} GiB are needed and {0.8 * room / 2**30:.1f} are to be had"
        require(needed <= 0.8 * room, "neurons", "have weights that fit into the memory", have)
