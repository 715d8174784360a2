"""How signal and noise mix over time: every schedule is ``t -> (alpha, sigma)`` and everything else is derived.

The forward process is x_t = alpha(t) x0 + sigma(t) eps. Time 0 is clean data for all of them. The noise scale itself
is VE's time; VP's runs from 0 to 1; a discrete schedule counts its steps. Grids are decreasing tensors of times that
end at 0, made here and handed to samplers.
"""

from fewsteps.schedules.base import Schedule, diffuse, kl_to_standard_normal, over, snr
from fewsteps.schedules.continuous import VE, VPCosine, VPLinear
from fewsteps.schedules.discrete import Discrete, progressive, progressive_lengths, stepped
from fewsteps.schedules.grids import geometric, karras, quadratic, uniform
from fewsteps.schedules.pixel import (
    PIXEL_MIN,
    SNR_PEAK,
    PixelAware,
    brightness,
    expected_ddpm,
    expected_pixel,
    image_scale,
    noise_share,
    pixel_snr,
    pixel_snr_rate,
    proposition_2_holds,
    time_to_snr,
    to_scale,
)

__all__ = [
    "PIXEL_MIN",
    "SNR_PEAK",
    "VE",
    "Discrete",
    "PixelAware",
    "Schedule",
    "VPCosine",
    "VPLinear",
    "brightness",
    "diffuse",
    "expected_ddpm",
    "expected_pixel",
    "geometric",
    "image_scale",
    "karras",
    "kl_to_standard_normal",
    "noise_share",
    "over",
    "pixel_snr",
    "pixel_snr_rate",
    "progressive",
    "progressive_lengths",
    "proposition_2_holds",
    "quadratic",
    "snr",
    "stepped",
    "time_to_snr",
    "to_scale",
    "uniform",
]
