"""What a sampler does to Gaussian data, exactly, by the impulse response of its own code."""

from fewsteps.theory.law import Law, Rings, dense, frechet, kl, law_of, power_law, rings
from fewsteps.theory.linear import preconditioned, stationary_covariance
from fewsteps.theory.propagate import DENSE_MAX, mean_field_steps, propagate
from fewsteps.theory.rivals import MOVE_RATIO, MOVES, RIVALS, RingData, Rival, calls_of, on_rings, steps_for

__all__ = [
    "DENSE_MAX",
    "MOVES",
    "MOVE_RATIO",
    "RIVALS",
    "Law",
    "RingData",
    "Rings",
    "Rival",
    "calls_of",
    "dense",
    "frechet",
    "kl",
    "law_of",
    "mean_field_steps",
    "on_rings",
    "power_law",
    "preconditioned",
    "propagate",
    "rings",
    "stationary_covariance",
    "steps_for",
]
