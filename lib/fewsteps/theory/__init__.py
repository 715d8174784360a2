"""What a sampler does to Gaussian data, exactly, by the impulse response of its own code."""

from fewsteps.theory.law import Law, Rings, dense, frechet, kl, law_of, power_law, rings
from fewsteps.theory.propagate import DENSE_MAX, mean_field_steps, propagate

__all__ = [
    "DENSE_MAX",
    "Law",
    "Rings",
    "dense",
    "frechet",
    "kl",
    "law_of",
    "mean_field_steps",
    "power_law",
    "propagate",
    "rings",
]
