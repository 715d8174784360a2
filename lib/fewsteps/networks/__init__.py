"""Networks, in torch alone. They know no sampler and no schedule: they are functions of (x, times)."""

from fewsteps.networks.signal import SignalNet

__all__ = ["SignalNet"]
