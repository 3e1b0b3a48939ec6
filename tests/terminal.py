"""The command line as a user types it."""

import os
import subprocess
import sys
from pathlib import Path


def call(*arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run `python -m jaxlimit` as a user would, without this suite's environment for JAX.

    Except for where compiled programs are kept: compiling them is half of what a run costs.
    """
    kept = "JAX_COMPILATION_CACHE_", "JAX_PERSISTENT_CACHE_"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_")) or k.startswith(kept)}
    return subprocess.run(
        [sys.executable, "-m", "jaxlimit", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
