"""Run the numerical rooms on a GPU against the CPU, and time where the FFT overtakes the cosine matrix there.

    PYTHONPATH=lib python tools/check_device.py            # cuda if there is one, else cpu against itself

Every sampler runs with torch told to fail on any wait for the device inside its loop. Needs torch and numpy only. Ends
non-zero if a result differs by more than float64 rounding allows.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import Tensor

from fewsteps import denoisers, filters, samplers, schedules, spectra, transforms, wiener

TOLERANCE = 1e-10


def results(device: torch.device) -> dict[str, Tensor]:
    """One result of every kind, from the same numbers on any device."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 48, 48, generator=generator, dtype=torch.float64).to(device)
    beyond = transforms.MATRIX_MAX_GPU + 64  # what goes through the FFT on every device
    large = torch.rand(2, beyond, beyond, generator=generator, dtype=torch.float64).to(device)
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(device)
    power = spectra.power_spectrum(x)
    steps = torch.arange(1, 5, device=device)
    pixelwise = schedules.PixelAware(x[0].clamp(schedules.PIXEL_MIN, 1), 20.0)
    return {
        "dct2": transforms.idct2(transforms.dct2(x) * 2),
        "dct2 by FFT": transforms.dct2(large),
        "idct2 by FFT": transforms.idct2(large),
        "haar": torch.stack(transforms.haar_dwt2(x)),
        "power_spectrum": power,
        "radial_mean": spectra.radial_mean(power).power,
        "kappa": spectra.kappa(power, torch.linspace(0, 0.9, 7), "dct"),
        "wiener": wiener.denoise(x, wiener.reconstruction_response(power, 0.3), 0.3),
        "diffuse": schedules.diffuse(schedules.Discrete.linear(10), x, steps, noise),
        "pixel": schedules.diffuse(pixelwise, x[0], 0.5, noise[0]),
    }


def sampled(device: torch.device) -> dict[str, Tensor]:
    """The sample of every sampler, filtered where it can be, from the same numbers on any device."""
    ve, vp = schedules.VE(0.02, 50), schedules.VPLinear()
    power = 1 / (1 + spectra.square_distance((48, 48)))
    zone, start = filters.tdas((48, 48), (0.9, 0.8), (0.3, 0.4)), {"filt": filters.tdas((48, 48), 0.9, 0.3).at("prior")}
    runs = {
        "langevin": (samplers.langevin, ve, {"per_level": 2, "filt": zone.at(drift=True)}),
        "predictor_corrector": (samplers.predictor_corrector, ve, {"filt": zone.at(drift=True)}),
        "ve_ancestral": (samplers.ve_ancestral, ve, {"filt": zone}),
        "ddpm": (samplers.ddpm, vp, {"filt": filters.tdas((48, 48), 0.9, 0.2, "dft")}),
        "ddim": (samplers.ddim, vp, start),
        "analytic": (samplers.analytic, vp, {"eps_power": lambda t: 0.5, "filt": zone}),
        "heun": (samplers.heun, ve, start),
        "dpmpp_2m": (samplers.dpmpp_2m, vp, start),
    }
    found = {}
    for name, (sampler, schedule, named) in runs.items():
        model = denoisers.Gaussian(schedule, power, basis="dct")
        times = schedules.geometric(schedule, 12)
        for strict in (False, True):  # the first run puts masks and matrices on the device
            generator = torch.Generator().manual_seed(0)
            drawn = [torch.randn(4, 3, 48, 48, generator=generator, dtype=torch.float64).to(device) for _ in range(60)]
            source = iter(drawn)
            steps = sampler(model, (4, 3, 48, 48), times, noise=lambda shape, source=source: next(source), **named)
            next(steps)  # before the loop, schedules are read and checked
            if strict and device.type == "cuda":
                torch.cuda.set_sync_debug_mode("error")
            for _ in range(10):
                next(steps)
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
            found[name] = samplers.last(steps)  # what is left, and the one look at what was noticed on the way
    return found


def milliseconds(size: int, limit: int, device: torch.device) -> float:
    """Median time of a cosine transform of one batch of constant size in bytes."""
    kept = transforms.MATRIX_MAX, transforms.MATRIX_MAX_GPU
    transforms.MATRIX_MAX = transforms.MATRIX_MAX_GPU = limit
    x = torch.rand(max(1, 2**22 // size**2), size, size, device=device)
    times = []
    for _ in range(23):
        if device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        transforms.dct2(x)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    transforms.MATRIX_MAX, transforms.MATRIX_MAX_GPU = kept
    return 1e3 * sorted(times[3:])[10]


def main() -> int:
    """Compare, time, and say how it went."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here, there = (results(place) | sampled(place) for place in (torch.device("cpu"), device))
    worst = {name: float((there[name].cpu() - here[name]).abs().max()) for name in here}
    for name, difference in worst.items():
        print(f"{name:20} {difference:.1e}")
    print(f"cosine transform on {device}: px, matrix ms, FFT ms")
    for size in (32, 64, 128, 256, 512, 1024):
        print(f"{size:6} {milliseconds(size, size, device):9.3f} {milliseconds(size, 0, device):9.3f}")
    return int(max(worst.values()) > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
