"""How fast the numerical rooms are, as a ratio to what a user would pick instead, both timed in this run.

A ratio above 1 says that fewsteps is faster. The last table times the two ways of computing a cosine transform, which
is where MATRIX_MAX in fewsteps.transforms comes from.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pywt
import scipy.fft
import scipy.linalg
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

from fewsteps import denoisers, filters, metrics, samplers, schedules, spectra, transforms


def milliseconds(work: Callable[[], object], *, repeats: int = 7, seconds: float = 0.15) -> float:
    """Median over `repeats` of the mean time of as many calls as fit into `seconds`."""
    work()
    begin = time.perf_counter()
    work()
    calls = max(1, int(seconds / max(time.perf_counter() - begin, 1e-7)))
    medians = []
    for _ in range(repeats):
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        medians.append((time.perf_counter() - begin) / calls)
    return 1e3 * statistics.median(medians)


def masked_kappa(gamma: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Kappa as its definition reads, one mask per radius: what one writes first."""
    rows, columns = np.ogrid[: gamma.shape[0], : gamma.shape[1]]
    distance = rows**2 + columns**2
    return np.array([gamma[distance >= 2 * (r * gamma.shape[0]) ** 2].mean() for r in radii])


def counted_rings(power: np.ndarray) -> np.ndarray:
    """A radial mean as numpy users write it."""
    size = power.shape[0]
    ring = np.round(np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size))) * size).astype(int).ravel()
    return (np.bincount(ring, power.ravel()) / np.bincount(ring))[: size // 2 + 1]


def comparisons() -> list[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """(what, against what, ours, theirs)."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for size, batch in ((32, 64), (64, 64), (256, 8), (1024, 1)):
        x = torch.randn(batch, 3, size, size, generator=generator)
        a = x.numpy()
        rows.append(
            (
                f"dct2 {tuple(x.shape)}",
                "scipy.fft.dctn, all cores",
                lambda x=x: transforms.dct2(x),
                lambda a=a: scipy.fft.dctn(a, axes=(-2, -1), norm="ortho", workers=-1),
            )
        )
        rows.append(
            (
                f"dct2 {tuple(x.shape)}",
                "torch.fft.fft2",
                lambda x=x: transforms.dct2(x),
                lambda x=x: torch.fft.fft2(x, norm="ortho"),
            )
        )
    x = torch.randn(64, 64, 64, 64, generator=generator)
    a = x.numpy()
    rows.append(
        ("haar_dwt2 (64, 64, 64, 64)", "pywt.dwt2", lambda: transforms.haar_dwt2(x), lambda: pywt.dwt2(a, "haar"))
    )
    photographs = torch.rand(16, 3, 256, 256, generator=generator)
    b = photographs.numpy()
    rows.append(
        (
            "power_spectrum (16, 3, 256, 256)",
            "numpy.fft.fft2",
            lambda: spectra.power_spectrum(photographs),
            lambda: (np.abs(np.fft.fft2(b, norm="ortho")) ** 2).mean((0, 1)),
        )
    )
    power = torch.rand(512, 512, generator=generator) + 0.1
    c = power.numpy()
    rows.append(
        ("radial_mean (512, 512)", "numpy.bincount", lambda: spectra.radial_mean(power), lambda: counted_rings(c))
    )
    radii = torch.linspace(0, 0.9, 200)
    rows.append(
        (
            "kappa (512, 512), 200 radii",
            "a mask per radius",
            lambda: spectra.kappa(power, radii),
            lambda: masked_kappa(c, radii.numpy()),
        )
    )
    return rows


def noises() -> list[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """Filtered noise against the plain draw that it starts from: what a filter costs, at the papers' sizes."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for size, batch in ((32, 64), (64, 16), (256, 2), (1024, 1)):
        shape = (batch, 3, size, size)

        def plain(shape=shape):
            return torch.randn(shape, generator=generator)

        for basis in ("dct", "dft"):
            made = filters.tdas((size, size), (0.9, 0.8), (0.4, 0.455), basis)
            rows.append((f"noise {basis} {shape}", "torch.randn", lambda m=made, f=plain: m.noise(f()), plain))
    return rows


def steps() -> list[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """50 steps of a sampler around a network that costs nothing, against diffusers' scheduler around the same."""
    count = 50
    schedule = schedules.Discrete.linear(1000)
    times = torch.cat((torch.arange(981, 0, -20), torch.zeros(1))).double()
    model = denoisers.FromEps(lambda x, t: x, schedule)
    pairs: tuple[tuple[str, dict, Any], ...] = (
        ("ddim", {}, DDIMScheduler(clip_sample=False)),
        ("ddpm", {}, DDPMScheduler(clip_sample=False)),
        ("dpmpp_2m", {}, DPMSolverMultistepScheduler(timestep_spacing="leading")),
    )
    rows = []
    for shape in ((4, 3, 32, 32), (64, 3, 32, 32)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        for name, named, scheduler in pairs:
            noise = samplers.white_noise(0)

            def ours(name=name, named=named, noise=noise, x=x):
                with torch.no_grad():
                    samplers.last(getattr(samplers, name)(model, x, times, noise=noise, **named))

            def theirs(scheduler: Any = scheduler, x=x):
                scheduler.set_timesteps(count)
                state = x
                with torch.no_grad():
                    for t in scheduler.timesteps:
                        state = scheduler.step(state, t, state, return_dict=False)[0]

            rows.append((f"{name}, 50 steps {shape}", f"diffusers.{type(scheduler).__name__}"[:28], ours, theirs))
    return rows


def law() -> tuple[float, float]:
    """Seconds and GiB that the exact law of 1000 filtered DDPM steps at 64 x 64 takes, in a process of its own."""
    code = """
import time
from fewsteps import denoisers, filters, samplers, schedules, spectra, theory

def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20

vp = schedules.VPLinear()
model = denoisers.Gaussian(vp, 1 / (1 + spectra.square_distance((64, 64))), basis="dct")
filt = filters.tdas((64, 64), 0.9, 0.4)
theory.propagate(samplers.ddpm, model, schedules.geometric(vp, 2), filt=filt)  # torch sets its autograd up once
before, begin = peak(), time.perf_counter()
theory.propagate(samplers.ddpm, model, schedules.geometric(vp, 1000), filt=filt)
print(time.perf_counter() - begin, peak() - before)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return float(said[0]), float(said[1])


def frechet(width: int = 2048) -> tuple[float, float, float]:
    """Seconds of a Fréchet distance at Inception's width, the same by a matrix square root, and how far they differ.

    The root takes too long to repeat, so each side runs once.
    """
    generator = torch.Generator().manual_seed(0)
    scales = torch.arange(1, width + 1, dtype=torch.float64).rsqrt()  # a falling spectrum, as features have
    laws = []
    for count in (3 * width, 2 * width):
        features = torch.randn(count, width, generator=generator, dtype=torch.float64) * scales
        laws.append((features.mean(0), torch.cov(features.mT)))
    (mu1, cov1), (mu2, cov2) = laws
    metrics.frechet_distance(mu1[:64], cov1[:64, :64], mu2[:64], cov2[:64, :64])  # LAPACK is loaded once
    begin = time.perf_counter()
    ours = metrics.frechet_distance(mu1, cov1, mu2, cov2)
    between = time.perf_counter()
    root = scipy.linalg.sqrtm(cov1.numpy() @ cov2.numpy())
    theirs = float((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace()) - 2 * float(np.trace(root).real)
    return between - begin, time.perf_counter() - between, abs(ours / theirs - 1)


def crossover() -> list[tuple[int, float, float]]:
    """(size, matrix ms, FFT ms) for the cosine transform of one batch of constant size in bytes."""
    generator = torch.Generator().manual_seed(0)
    kept = transforms.MATRIX_MAX
    rows = []
    try:
        for size in (32, 64, 128, 192, 256, 384, 512, 1024):
            x = torch.randn(max(1, 2**18 // size**2), 3, size, size, generator=generator)
            timed = []
            for limit in (size, 0):
                transforms.MATRIX_MAX = limit
                timed.append(milliseconds(lambda x=x: transforms.dct2(x), repeats=5, seconds=0.05))
            rows.append((size, timed[0], timed[1]))
    finally:
        transforms.MATRIX_MAX = kept
    return rows


def main() -> None:
    """Print the tables."""
    print(f"torch {torch.__version__} on {torch.get_num_threads()} threads\n")
    print(f"{'what':36} {'ms':>9}   {'instead':28} {'ms':>9}   ratio")
    for what, instead, ours, theirs in (*comparisons(), *noises(), *steps()):
        mine, other = milliseconds(ours), milliseconds(theirs)
        print(f"{what:36} {mine:9.3f}   {instead:28} {other:9.3f}   {other / mine:5.1f}")
    seconds, memory = law()
    print(f"\ntheory.propagate, 64 x 64, 1000 steps: {seconds:.2f} s, {memory:.2f} GiB (goal: under 2 s and 2 GiB)")
    mine, other, apart = frechet()
    print(f"\nmetrics.frechet_distance, 2048 features: {mine:.2f} s, by scipy.linalg.sqrtm {other:.2f} s")
    print(f"ratio {other / mine:.1f} (goal: at least 10), relative difference {apart:.1e}")
    print(f"\ncosine transform: matrix up to {transforms.MATRIX_MAX} px, FFT beyond")
    print(f"{'px':>6} {'matrix ms':>10} {'FFT ms':>10}")
    for size, matrix, fast in crossover():
        print(f"{size:6} {matrix:10.3f} {fast:10.3f}")


if __name__ == "__main__":
    main()
