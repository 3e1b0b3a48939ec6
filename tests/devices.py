"""Accelerators that are not there: what the package asks a device before anything runs on it."""


class Accelerator:
    """A device of this kind with so many bytes, of which some are in use; it says nothing of them where None."""

    def __init__(self, kind="NVIDIA H100 80GB HBM3", limit=None, used=0, platform="gpu"):
        self.device_kind, self.limit, self.used, self.platform = kind, limit, used, platform

    def memory_stats(self):
        return None if self.limit is None else {"bytes_limit": self.limit, "bytes_in_use": self.used}

    def __repr__(self):
        return f"{self.platform} {self.device_kind}"
