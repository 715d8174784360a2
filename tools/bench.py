"""How fast the numerical rooms are, as a ratio to what a user would pick instead, both timed in this run.

A ratio above 1 says that fewsteps is faster. The last table times the two ways of computing a cosine transform, which
is where MATRIX_MAX in fewsteps.transforms comes from.
"""

from __future__ import annotations

import base64
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pywt
import scipy.fft
import scipy.linalg
import torch
from diffusers.pipelines.ddim.pipeline_ddim import DDIMPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fewsteps import denoisers, export, filters, metrics, networks, samplers, schedules, spectra, trained, transforms
from fewsteps.allocator import keep_freed
from fewsteps.data import Images
from fewsteps.experiments.cells import Cell, Table, fill
from fewsteps.experiments.engine import engine
from fewsteps.experiments.sampling import SHARD, Plan
from fewsteps.training import recipe
from fewsteps.training.loop import Run
from fewsteps.training.team import Team
from fewsteps.widgets import SamplingLab


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


def walks() -> list[tuple[str, str, Callable[[], object], Callable[[], object]]]:
    """PixelAware's sub-networks and path, and two steps of a denoising diffusion GAN, against what one writes first."""
    torch.manual_seed(0)
    heads, width = recipe("mnist-parallel").network["heads"], recipe("mnist-parallel").network["width"]
    each: Any = networks.build(recipe("mnist-parallel").network).each
    h, folded = torch.randn(64, width, 16, 16), torch.randn(64, 4, 16, 16)
    alone = [torch.tensor([k]) for k in range(heads)]
    x, noises = torch.randn(64, 1, 32, 32), torch.randn(heads, 64, 1, 32, 32)
    scale = schedules.image_scale(torch.rand(64, 1, 32, 32).clamp_min(schedules.PIXEL_MIN), 5.0)

    def together() -> None:
        with torch.inference_mode():
            each(h, folded, None)

    def one_by_one() -> None:
        with torch.inference_mode():
            torch.cat([each(h, folded, k) for k in alone], dim=1)

    def by_the_paper() -> torch.Tensor:
        states, alpha = [x], scale ** (1 / heads)
        for j in range(heads, 0, -1):
            states.append(1 / alpha.sqrt() * (states[-1] - (1 - alpha) / (1 - alpha**j).sqrt() * noises[j - 1]))
        return torch.stack(states[::-1])  # all of them, which is what is looked at

    model = trained.load("digits-ddgan2")
    denoiser: Any = model.denoiser()
    process, times = denoiser.schedule, torch.tensor([2.0, 1.0, 0.0]).double()
    bars = process.alpha_bars.float()

    def ours() -> None:
        with torch.inference_mode():
            samplers.last(samplers.ddgan(denoiser, (64, *model.shape), times, noise=samplers.white_noise(0)))

    def by_hand() -> None:
        generator = torch.Generator().manual_seed(0)
        with torch.inference_mode():
            state = torch.randn((64, *model.shape), generator=generator)
            for t in (2, 1):
                x0 = denoiser.draw(state, t, None, torch.randn((64, denoiser.latent), generator=generator))
                beta, before = 1 - bars[t] / bars[t - 1], bars[t - 1]
                first, second = before.sqrt() * beta / (1 - bars[t]), (1 - beta).sqrt() * (1 - before) / (1 - bars[t])
                state = first * x0 + second * state
                if t > 1:
                    spread = (beta * (1 - before) / (1 - bars[t])).sqrt()
                    state = state + spread * torch.randn(state.shape, generator=generator)

    path = f"reverse_path, {heads} steps {tuple(x.shape)}"
    return [
        (f"{heads} sub-networks {tuple(h.shape)}", "one after another", together, one_by_one),
        (path, "step 9 as it reads", lambda: samplers.reverse_path(x, scale, noises), by_the_paper),
        (f"ddgan, 2 steps (64, {', '.join(map(str, model.shape))})", "DDGAN's loop by hand", ours, by_hand),
    ]


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

    The root takes too long to repeat. The distance is the median of three, of which the first alone pays for fresh
    memory and for threads that start.
    """
    generator = torch.Generator().manual_seed(0)
    scales = torch.arange(1, width + 1, dtype=torch.float64).rsqrt()  # a falling spectrum, as features have
    laws = []
    for count in (3 * width, 2 * width):
        features = torch.randn(count, width, generator=generator, dtype=torch.float64) * scales
        laws.append((features.mean(0), torch.cov(features.mT)))
    (mu1, cov1), (mu2, cov2) = laws
    metrics.frechet_distance(mu1[:64], cov1[:64, :64], mu2[:64], cov2[:64, :64])  # LAPACK is loaded once
    runs = []
    for _ in range(3):
        begin = time.perf_counter()
        ours = metrics.frechet_distance(mu1, cov1, mu2, cov2)
        runs.append(time.perf_counter() - begin)
    between = time.perf_counter()
    root = scipy.linalg.sqrtm(cov1.numpy() @ cov2.numpy())
    theirs = float((mu1 - mu2).square().sum() + cov1.trace() + cov2.trace()) - 2 * float(np.trace(root).real)
    return sorted(runs)[1], time.perf_counter() - between, abs(ours / theirs - 1)


class _Timed(torch.nn.Module):
    """A network that both sides call, and that counts the time spent inside it."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.inside = network, 0.0
        self.config = SimpleNamespace(in_channels=3, sample_size=32)
        self.dtype, self.device = torch.float32, torch.device("cpu")  # what a pipeline asks of its network

    def forward(self, x: torch.Tensor, t: Any, **_: Any) -> Any:
        begin = time.perf_counter()
        times = torch.as_tensor(t, dtype=torch.float32).expand(len(x)) / 1000
        said = self.network(x, times)
        self.inside += time.perf_counter() - begin
        return SimpleNamespace(sample=said)


def pipelines(batch: int = 64, count: int = 20) -> list[tuple[float, float]]:
    """Seconds inside and outside the same U-Net of 20 DDIM steps: ours, diffusers' DDIMPipeline, and a bare loop.

    All in float32, contiguous, not compiled, and up to images in [0, 1]; the fastest of three runs each. The bare loop
    has the same two updates as ours, of x0_hat and of x, with scales that are ready, and neither looks for NaN nor
    counts: no sampler that tells its x0_hat is faster.
    """
    torch.manual_seed(0)
    network = _Timed(networks.build(recipe("cifar10").network).eval())
    schedule = schedules.Discrete.linear(1000)
    model = denoisers.FromEps(lambda x, t: network(x, t).sample, schedule)
    times = torch.cat((torch.arange(951, 0, -50), torch.zeros(1))).double()
    pipeline = DDIMPipeline(unet=network, scheduler=DDIMScheduler(clip_sample=False))  # type: ignore[arg-type]
    pipeline.set_progress_bar_config(disable=True)

    def ours() -> None:
        with torch.inference_mode():
            x = samplers.last(samplers.ddim(model, (batch, 3, 32, 32), times, noise=samplers.white_noise(0)))
            trained.to_images(x, schedule)

    def theirs() -> None:
        pipeline(batch_size=batch, num_inference_steps=count, generator=torch.manual_seed(0), output_type="np")

    levels = times.tolist()
    alpha, sigma = ([float(scale(t)) for t in levels] for scale in (schedule.alpha, schedule.sigma))

    def bare() -> None:
        with torch.inference_mode():
            x = torch.randn((batch, 3, 32, 32), generator=torch.Generator().manual_seed(0))
            for k in range(count):
                eps = network(x, levels[k]).sample
                x0_hat = torch.mul(x, 1 / alpha[k]).add_(eps, alpha=-sigma[k] / alpha[k])
                keep = sigma[k + 1] / sigma[k]
                x = torch.mul(x, keep).add_(x0_hat, alpha=alpha[k + 1] - keep * alpha[k])
            trained.to_images(x, schedule)

    found = []
    for work in (ours, theirs, bare):
        runs = []
        for _ in range(3):
            network.inside, begin = 0.0, time.perf_counter()
            work()
            runs.append((network.inside, time.perf_counter() - begin - network.inside))
        found.append((min(inside for inside, _ in runs), min(outside for _, outside in runs)))
    return found


def training() -> tuple[float, float]:
    """Milliseconds of our training step, and of a plain loop around the same network, batch and optimiser."""
    made = recipe("cifar10")
    images = Images(torch.rand(512, 3, 32, 32), torch.arange(512) % 10, None, "uniform noise", "")
    with tempfile.TemporaryDirectory() as folder, Team("cpu") as team:
        run = Run(made, Path(folder), images, team, compiled=False, half=True)
        objective, network = run.objective, networks.build(made.network)
        optimiser = torch.optim.AdamW(network.parameters(), made.rate, fused=True)
        average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.999))
        generator = torch.Generator()

        def plain() -> None:
            chosen = torch.randint(512, (made.batch,), generator=generator)
            with torch.autocast("cpu", torch.bfloat16):
                losses = objective(network, images.images[chosen], images.labels[chosen], generator)  # type: ignore[index]
            losses.float().mean().backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            average.update_parameters(network)

        # In turns, so that whatever else the machine does falls on both.
        timed: tuple[list[float], list[float]] = ([], [])
        for _ in range(6):
            for work, said in zip((run.step, plain), timed, strict=True):
                begin = time.perf_counter()
                work()
                said.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(timed[0][1:]), statistics.median(timed[1][1:])


def browser_network(count: int = 20) -> tuple[float, float, float]:
    """Milliseconds of one core for a call of the index page's network on 16 images, and for the same in torch.

    By onnxruntime-web's WebAssembly under Node, without a page. The third number is the largest difference between the
    two over the whole run. Processor time, so that whatever else the machine does stays out of it.
    """
    lab = SamplingLab(steps=count)
    root = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        run = {
            **lab.setting,
            **{name: getattr(lab, name) for name in ("sampler", "steps", "lam", "r", "seed", "label")},
        }
        job = {
            "widgets": str(root / "lib/fewsteps/widgets"),
            "ort": str(root / "node_modules/onnxruntime-web/dist"),
            "model": str(export.write(lab.setting["network"], Path(folder))),
            "runs": [run],
        }
        node = shutil.which("node", path=str(Path(sys.executable).parent)) or "node"
        command = [node, str(root / "lib/tests/sampling_parity.mjs")]
        said = json.loads(
            subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True).stdout
        )
    list(lab.walk())
    begin = time.process_time()
    steps = list(lab.walk())
    spent = (time.process_time() - begin) / count
    pairs = zip(said["runs"][0]["x"], steps, strict=True)
    apart = max(float(np.abs(np.frombuffer(base64.b64decode(x), "f4") - s.x.numpy().ravel()).max()) for x, s in pairs)
    return 1e3 * said["seconds"], 1e3 * spent, apart


def sweeping(cells: int = 8) -> tuple[float, float]:
    """Seconds that a small table takes in one process of one thread, and by two Dask workers that are warm."""
    plans = [Plan("mnist", nfe=10, count=2 * SHARD, seed=100 + k, labels="each", half=True) for k in range(cells + 2)]
    warm, rows = ([Cell("DPM-Solver++(2M)", plan) for plan in part] for part in (plans[cells:], plans[:cells]))
    threads, spent = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for workers in (1, 2):
            with tempfile.TemporaryDirectory() as folder, engine(workers) as working:
                table = Table(Path(folder) / "table.json", "make bench")
                fill(table, warm, engine=working)
                begin = time.perf_counter()
                failed = fill(table, rows, engine=working)
                spent.append(time.perf_counter() - begin)
                assert not failed, failed
    finally:
        torch.set_num_threads(threads)
    return spent[0], spent[1]


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
    keep_freed()  # as the command line does; both sides of every comparison run in this process
    print(f"torch {torch.__version__} on {torch.get_num_threads()} threads\n")
    print(f"{'what':36} {'ms':>9}   {'instead':28} {'ms':>9}   ratio")
    for what, instead, ours, theirs in (*comparisons(), *noises(), *steps(), *walks()):
        mine, other = milliseconds(ours), milliseconds(theirs)
        print(f"{what:36} {mine:9.3f}   {instead:28} {other:9.3f}   {other / mine:5.1f}")
    seconds, memory = law()
    print(f"\ntheory.propagate, 64 x 64, 1000 steps: {seconds:.2f} s, {memory:.2f} GiB (goal: under 2 s and 2 GiB)")
    mine, other, apart = frechet()
    print(f"\nmetrics.frechet_distance, 2048 features: {mine:.2f} s, by scipy.linalg.sqrtm {other:.2f} s")
    print(f"ratio {other / mine:.1f} (goal: at least 10), relative difference {apart:.1e}")
    (inside, outside), (inside_theirs, outside_theirs), (_, least) = pipelines()
    print("\nDDIM, 20 steps, a U-Net of the book, batch 64 at 32 px: seconds inside and outside the network")
    print(
        f"  fewsteps {inside:.2f} + {outside:.4f}   diffusers' DDIMPipeline {inside_theirs:.2f} + {outside_theirs:.4f}"
    )
    print(f"  outside {outside / outside_theirs:.2f} of theirs (goal: at most 0.5), that of a bare loop ", end="")
    print(f"{least / outside_theirs:.2f}")
    print(f"  {64 / (inside + outside):.1f} against {64 / (inside_theirs + outside_theirs):.1f} images/s")
    mine, other = training()
    print(f"\ntraining step, the same network, batch 64, bfloat16: {mine:.0f} ms, in a plain loop {other:.0f} ms")
    browser, torchs, apart = browser_network()
    print(f"\nthe index page's network, 16 images: {browser:.0f} ms of a core in WebAssembly, {torchs:.0f} ms in torch")
    print(f"  20 network calls: {20 * browser / 1e3:.1f} s (goal: 10 s in the page); largest difference {apart:.1e}")
    alone, shared = sweeping()
    print(f"\nfewsteps sweep, 8 cells of 512 images: one process {alone:.1f} s, two Dask workers {shared:.1f} s")
    print(f"  efficiency {alone / (2 * shared):.2f} of two cores")
    print(f"\ncosine transform: matrix up to {transforms.MATRIX_MAX} px, FFT beyond")
    print(f"{'px':>6} {'matrix ms':>10} {'FFT ms':>10}")
    for size, matrix, fast in crossover():
        print(f"{size:6} {matrix:10.3f} {fast:10.3f}")


if __name__ == "__main__":
    main()
