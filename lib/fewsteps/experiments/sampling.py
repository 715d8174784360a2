"""Images from a shipped network: a plan says everything that decides them, and shards make it the same anywhere.

A shard is 256 images with a seed of its own. Some samplers let the images of a batch depend on each other (NCSN++'s
corrector averages norms), so the shard, not the machine, decides which images share a batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import allocator, checkpoints, memory, samplers, schedules, trained
from fewsteps.denoisers import Corrected, Denoiser, Guided
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.experiments import adversarial, filtering, onestep, prediction
from fewsteps.experiments.prediction import Matching
from fewsteps.networks import LatentPrior
from fewsteps.parameters import integer, number
from fewsteps.schedules import VE, Schedule, VPLinear
from fewsteps.theory import RIVALS
from fewsteps.theory.rivals import Rival
from fewsteps.trained import Trained

SHARD = 256
MOST_SEED = 2**40  # so that every shard's own seed fits
GRIDS = {"geometric": schedules.geometric, "karras": schedules.karras, "uniform": schedules.uniform}
SAMPLERS = RIVALS | {
    # PDS' section 7: a Langevin move before every step of DDPM.
    "ddpm_moves": Rival(
        "DDPM with Langevin moves", samplers.predictor_corrector, VPLinear, {"predictor": "ddpm"}, per_step=2
    ),
    "ddgan": Rival("denoising diffusion GAN", samplers.ddgan, VPLinear),
}
WITHOUT_PATH = {
    "class": "a classifier: it makes no images from noise",
    "autoencoder": "an autoencoder: it makes no images from noise",
    "scale": "a scale estimator: it makes no images from noise by itself, experiments.pixel_aware samples with it",
    "parallel": "a parallel network: it has no sampler that walks, experiments.pixel_aware samples with it",
}
FAR = 100.0  # a state this many times larger than noisy data can be is no sample any more
USUAL = {
    "langevin": "eps, the step of its moves, is usually too large: langevin_eps gives one for short runs",
    "pc": "corrector_snr is usually too large for so few steps",
    "reverse": "too few steps usually do that: give more NFE",
}


@dataclass(frozen=True)
class Plan:
    """What is sampled.

    Attributes
    ----------
    checkpoint : str
    sampler : str
        A key of `SAMPLERS`.
    nfe : int
        Network calls per image; the sampler takes as many steps as they pay for. A denoising diffusion GAN takes its
        T, and what is left goes to the prior of its semantic vectors; where nothing is left they are Gaussian.
    grid : {"karras", "geometric", "uniform"}
        How the times are spaced; a denoising diffusion GAN has its own.
    filt : dict, optional
        As :func:`fewsteps.experiments.filtering.build` takes it.
    labels : "any", "each" or int
        No class; every class in turn; or one class.
    count, seed : int
    named : dict
        Further parameters of the sampler.
    start : {"prior", "uniform"}
        The process's own law at its end, or uniform numbers in [0, 1], where NCSN begins.
    half : bool
        Let the network compute in bfloat16, which takes half the time on many CPUs. The sampler's own arithmetic
        stays in single precision.
    prediction : {"as it is", "by frequency", "scaled"}
        Whether the network's predictions are given the power that they have on real noisy images, by one gain per
        ring of frequencies and call or by one per call. The gains come from images of other seeds.
    guidance : float
        Weight of classifier-free guidance, which takes two network calls a step where it is neither 0 nor 1.
    """

    checkpoint: str
    sampler: str = "dpmpp_2m"
    nfe: int = 50
    grid: str = "karras"
    filt: Mapping[str, Any] | None = None
    labels: str | int = "any"
    count: int = SHARD
    seed: int = 0
    named: Mapping[str, Any] = field(default_factory=dict)
    start: str = "prior"
    half: bool = False
    prediction: str = "as it is"
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ParameterError(f"sampler must be one of {', '.join(SAMPLERS)}, not {self.sampler!r}.")
        if self.start not in ("prior", "uniform"):
            raise ParameterError(f"start must be prior or uniform, not {self.start!r}.")
        if self.grid not in GRIDS:
            raise ParameterError(f"grid must be one of {', '.join(GRIDS)}, not {self.grid!r}.")
        if self.prediction not in prediction.HOW:
            raise ParameterError(f"prediction must be one of {', '.join(prediction.HOW)}, not {self.prediction!r}.")
        integer("nfe", self.nfe, least=1)
        integer("count", self.count, least=1)
        integer("seed", self.seed, least=0, most=MOST_SEED)
        number("guidance", self.guidance, least=0)
        if self.guidance != 1 and not self.told:
            raise ParameterError('guidance needs a class for every image: labels must be "each" or a class.')
        if self.guidance != 1 and (self.prediction != "as it is" or self.sampler in ("analytic", "spectral")):
            raise ParameterError(
                "guidance must be 1 where a sampler or a correction takes the network's errors from statistics: those "
                "of guided predictions are not known."
            )
        if self.labels not in ("any", "each"):
            integer("labels", self.labels, least=0)
            if self.prediction != "as it is":
                raise ParameterError(
                    "predictions of one class cannot be corrected, since their power is known for all classes "
                    'together: labels must be "each" or "any".'
                )

    @property
    def shards(self) -> list[int]:
        """Images in each shard."""
        whole, rest = divmod(self.count, SHARD)
        return [SHARD] * whole + ([rest] if rest else [])

    @property
    def told(self) -> bool:
        """Whether the network is told a class."""
        return self.labels != "any"

    @property
    def rival(self) -> Rival:
        """The sampler and the process that it runs on."""
        return SAMPLERS[self.sampler]

    def described(self) -> dict[str, Any]:
        """What a result records."""
        said = asdict(self)
        if self.guidance == 1:  # as before there was guidance: rows of then stay
            said.pop("guidance")
        return said


@dataclass(frozen=True)
class Drawn:
    """Images and what they cost."""

    images: Tensor
    """(N, C, H, W) in [0, 1]."""
    labels: Tensor | None
    nfe: int


def sample(
    plan: Plan,
    folder: Path = checkpoints.FOLDER,
    *,
    workers: int = 1,
    batch: int = SHARD,
    device: torch.device | str = "cpu",
    say: Callable[[int], None] | None = None,
) -> Drawn:
    """All images of a plan, shard by shard, merged in their order: the same numbers whatever the number of workers.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Of the checkpoint.
    workers : int
        Processes, each with one thread, on a CPU; 1 stays in this process with all its threads.
    batch : int
        Images per network call; less if memory is short. Does not change the images beyond rounding.
    device : optional
    say : callable, optional
        Gets the number of images after each shard.

    Raises
    ------
    ParameterError
        If the plan does not fit the checkpoint, or `workers` or `batch` is below 1.
    ShapeError
        If the sampler diverges.
    """
    integer("workers", workers, least=1)
    integer("batch", batch, least=1)
    work = partial(shard, plan, folder, batch, str(device))
    parts = []
    for part in _run(work, len(plan.shards), workers):
        parts.append(part)
        if say is not None:
            say(len(part.images))
    labels = [part.labels for part in parts if part.labels is not None]
    return Drawn(torch.cat([p.images for p in parts]), torch.cat(labels) if labels else None, parts[0].nfe)


def _run(work: Callable[[int], Drawn], count: int, workers: int) -> Iterator[Drawn]:
    if workers == 1:
        yield from map(work, range(count))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_alone) as pool:
        try:
            yield from pool.map(work, range(count))
        except BrokenProcessPool as error:
            raise ParameterError(
                "A worker process was killed, usually for memory: fewer --workers or a smaller --batch needs less."
            ) from error


def _alone() -> None:
    """One of several processes: one thread, and what it frees it keeps."""
    torch.set_num_threads(1)
    allocator.keep_freed()


COMPILE = "FEWSTEPS_COMPILE"
"""An environment variable, since workers inherit it: a backend of torch.compile that networks are to sample with. It
pays from some hundred thousand calls on and, as the size of a batch, changes images by rounding alone."""
_loaded: dict[tuple[str, Path, str, str], Trained] = {}


def shard(plan: Plan, folder: Path, batch: int, device: str, index: int) -> Drawn:
    """One shard of a plan; the network is kept for the next.

    Raises
    ------
    ParameterError
        If the plan does not fit the checkpoint, or memory runs out.
    ShapeError
        If the sampler diverges.
    """
    # With the hash of its weights, since a network that is still training changes under its name.
    key = (plan.checkpoint, folder, device, checkpoints.card(plan.checkpoint, folder)["weights"]["sha256"])
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = trained.load(*key[:3])
        if backend := os.environ.get(COMPILE):
            _loaded[key].network.compile(dynamic=False, backend=backend)
    model, count = _loaded[key], plan.shards[index]
    try:
        return draw(model, replace(plan, count=count), index, device=device, batch=batch)
    except (RuntimeError, MemoryError) as error:
        if not memory.ran_out(error):
            raise
    # Outside of the except block, whose error would hold what did not fit.

    def attempt(fewer: int) -> None:
        x = torch.zeros(fewer, *model.shape, device=device)
        with torch.inference_mode():
            model.network(x, x.new_ones(fewer))

    fits = memory.largest_batch(attempt, min(batch, count))
    advice = f"--batch {fits} fits" if fits else "not even one image fits"
    raise ParameterError(f"Memory ran out with {min(batch, count)} images per network call: {advice}.")


def draw(model: Trained, plan: Plan, shard: int = 0, *, device: str = "cpu", batch: int = SHARD) -> Drawn:
    """The images of one shard, ``plan.count`` of them.

    Parameters
    ----------
    model : Trained
    plan : Plan
        Its checkpoint's name is not looked at.
    shard : int
        Index of the shard, which with the plan's seed decides the noise.

    Raises
    ------
    ParameterError
        If the sampler cannot run on this network.
    ShapeError
        If it diverges.
    """
    if "ddgan" in (model.predicts, plan.sampler):
        return _drawn(model, plan, shard, device, batch)
    if plan.prediction == "as it is":
        return _draw(model, plan, shard, device, batch, None)
    return _draw(model, plan, shard, device, batch, matching(model, plan, device=device, batch=batch).gains)


def matching(model: Trained, plan: Plan, *, device: str = "cpu", batch: int = SHARD) -> Matching:
    """The power of the predictions along a plan's way and the gains that it asks for, one per network call.

    From one run on images of a seed of its own, kept for every shard and seed.

    Parameters
    ----------
    model : Trained
    plan : Plan
        Its count and seed are not looked at.

    Raises
    ------
    DataError
        If the data set's statistics are not there.
    ParameterError, ShapeError
        As for :func:`draw`.
    """
    plan = replace(plan, count=prediction.CALIBRATION, seed=prediction.CALIBRATION_SEED)
    key = f"{model.card['weights']['sha256']} {plan.described()}"
    if key not in _matched:
        found = Matching(prediction.ideal(model, _schedule(model, plan), told=plan.told), plan.prediction)
        _draw(model, plan, 0, device, batch, found)
        _matched[key] = found
    return _matched[key]


_matched: dict[str, Matching] = {}


def _draw(model: Trained, plan: Plan, shard: int, device: str, batch: int, gains: Any) -> Drawn:
    schedule = _schedule(model, plan)
    labels = _labels(model, plan, shard)
    cond = labels.to(device) if labels is not None else None
    denoiser: Denoiser = _Chunked(model.denoiser(schedule), batch, half=plan.half)
    if gains is not None:
        around = prediction.ideal(model, schedule, told=plan.told).around.to(device, torch.float32)
        # On the device before the loop. A Matching finds its gains on the way, in a run of its own.
        here = gains if isinstance(gains, Matching) else [gain.to(around) for gain in gains]
        denoiser = Corrected(denoiser, here, around)
    each = 1
    if plan.guidance != 1:
        denoiser = Guided(denoiser, plan.guidance)
        each = denoiser.calls
    noise = samplers.white_noise(plan.seed * 1_000_003 + shard, device)
    allowed = max(1, plan.nfe // each)
    steps = plan.rival.steps(allowed)
    named = {**plan.rival.named, **plan.named}
    if plan.sampler == "langevin":
        calls = allowed - bool(named.get("denoise", True))
        steps = max(1, calls // integer("per_level", named["per_level"], least=1))
    times = GRIDS[plan.grid](schedule, steps)
    if plan.sampler in ("analytic", "spectral"):
        named["eps_power"] = _gamma(model, plan, schedule, times)
    if "corrector_snr" in named:
        named["step_size"] = samplers.snr_step(named.pop("corrector_snr"))
    if model.decoder is not None and (plan.filt or plan.start == "uniform"):
        raise ParameterError(
            f"{model.name} works in latents: filters and the uniform start are made of the statistics of images."
        )
    filt = filtering.build(plan.filt, model.card["data"]["name"], model.shape[-1])
    start: Any = (plan.count, *model.shape)
    if plan.start == "uniform":
        start = torch.special.ndtr(noise(start))
    try:
        run = plan.rival.sampler(denoiser, start, times, noise=noise, cond=cond, filt=filt, **named)
    except TypeError as error:
        raise ParameterError(f"the sampler {plan.sampler} takes no such parameter: {error}.") from error
    with torch.inference_mode():
        end = _watched(run, plan, schedule, each)
    return Drawn(model.images(end.x, schedule).float().cpu(), labels, end.nfe * each)


def _drawn(model: Trained, plan: Plan, shard: int, device: str, batch: int) -> Drawn:
    """As :func:`_draw`, of a denoising diffusion GAN."""
    if model.predicts != "ddgan":
        _schedule(model, replace(plan, sampler="ddim" if model.predicts != "score" else "langevin"))
        raise ParameterError(f"the sampler ddgan draws x0 and {model.name} knows its mean: use ddpm, ddim or dpmpp_2m.")
    if plan.sampler != "ddgan":
        raise ParameterError(f"{model.name} draws x0 and does not know its mean: the sampler must be ddgan.")
    if plan.start != "prior" or plan.prediction != "as it is" or plan.named:
        raise ParameterError("ddgan takes no further parameters, no other start and no corrected predictions.")
    _labels(model, plan, shard)
    steps = model.steps.steps
    calls = adversarial.prior_calls(model, plan.nfe)
    noise = samplers.white_noise(plan.seed * 1_000_003 + shard, device)
    filt = filtering.build(plan.filt, model.card["data"]["name"], model.shape[-1])
    with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=plan.half):
        inputs = adversarial.drawn(model, plan.count, noise, calls=calls)
        images = adversarial.generate(model, inputs, batch=batch, filt=filt)
    return Drawn(images.float().cpu(), None, steps + calls)


def _watched(run: Iterator[samplers.Step], plan: Plan, schedule: Schedule, each: int) -> samplers.Step:
    """The last step, once it is known that no step ran away; the norms are looked at together, after the loop."""
    norms, end = [], None
    try:
        for end in run:
            norms.append((end.t, end.x.square().mean().sqrt()))
    except ShapeError as error:
        size = f"; its size there was {float(norms[-1][1]):.3g}" if norms else ""
        raise ShapeError(f"{str(error).rstrip('.')}{size}. For {plan.sampler}, {_usual(plan)}.") from error
    assert end is not None
    if (least := end.nfe * each) > plan.nfe:
        raise ParameterError(f"nfe must be at least {least} for one step of {plan.sampler} with these parameters.")
    for step, ((t, _), norm) in enumerate(zip(norms, torch.stack([norm for _, norm in norms]).tolist(), strict=True)):
        power = float(schedule.alpha(t)) ** 2 + float(schedule.sigma(t)) ** 2
        if not norm <= FAR * math.sqrt(power):
            raise ShapeError(
                f"{plan.sampler} diverged: at step {step + 1} of {len(norms)} the state has size {norm:.3g} where "
                f"noisy data have {math.sqrt(power):.3g}; {_usual(plan)}."
            )
    return end


def _usual(plan: Plan) -> str:
    filt = plan.filt or {}
    if filt.get("solenoid"):
        return (
            f"omega = {filt['solenoid']['omega']:g} is usually too large: an explicit step bears little more than 1, "
            "filters.largest_omega says how much"
        )
    if filt.get("drift"):
        return "a filter that multiplies the score by its square usually does that: bring its gains closer to 1"
    return USUAL.get(plan.sampler, "too few steps, or a filter far from 1, usually do that")


def _schedule(model: Trained, plan: Plan) -> Schedule:
    if isinstance(model.network, LatentPrior):
        whole = model.name.removesuffix("-prior")
        raise ParameterError(f"{model.name} makes semantic vectors and no images: sample {whole}, which asks for it.")
    if model.predicts in WITHOUT_PATH:
        raise ParameterError(f"{model.name} is {WITHOUT_PATH[model.predicts]}.")
    family = plan.rival.family
    if model.predicts == "score":
        if family is not VE:
            raise ParameterError(
                f"{model.name} knows the score of a VE process: of the samplers "
                f"{', '.join(key for key, rival in SAMPLERS.items() if rival.family is VE)} can run on it."
            )
        levels = model.card["predicts"]["sigmas"]
        return VE(levels[-1], levels[0])
    if model.predicts == "eps" and family is VE:
        raise ParameterError(
            f"{model.name} predicts the noise of a VP process: of the samplers "
            f"{', '.join(key for key, rival in SAMPLERS.items() if rival.family is not VE)} can run on it."
        )
    return family()


def _labels(model: Trained, plan: Plan, shard: int) -> Tensor | None:
    if plan.labels == "any":
        return None
    if not model.classes:
        raise ParameterError(f'{model.name} knows no classes: labels must be "any".')
    if plan.labels == "each":
        return (torch.arange(plan.count) + shard * SHARD) % model.classes
    return torch.full((plan.count,), integer("labels", plan.labels, least=0, most=model.classes - 1))


def _gamma(model: Trained, plan: Plan, schedule: Schedule, times: Tensor) -> Tensor:
    """Analytic-DPM's Gamma from the network's errors on training images: chosen on other data than it is judged on."""
    known = onestep.of(model, told=plan.told)
    powers = torch.stack([known.eps_power(schedule, float(t)) for t in times[:-1]])
    return powers if plan.sampler == "spectral" else powers.mean((1, 2))


class _Chunked:
    """A denoiser that gives its network no more than so many images at a time, in half precision if asked to."""

    def __init__(self, model: Denoiser, batch: int, *, half: bool) -> None:
        self.model, self.batch, self.half, self.schedule = model, batch, half, model.schedule

    def mean(self, x: Tensor, t: Any, cond: Any = None) -> Tensor:
        """The model's mean, part by part."""
        if self.half:
            with torch.autocast(x.device.type, torch.bfloat16):
                return self._mean(x, t, cond).to(x.dtype)
        return self._mean(x, t, cond)

    def _mean(self, x: Tensor, t: Any, cond: Any) -> Tensor:
        if len(x) <= self.batch:
            return self.model.mean(x, t, cond)
        conds = [None] * math.ceil(len(x) / self.batch) if cond is None else cond.split(self.batch)
        return torch.cat([self.model.mean(p, t, c) for p, c in zip(x.split(self.batch), conds, strict=True)])

    def draw(self, x: Tensor, t: Any, cond: Any = None, noise: Tensor | None = None) -> Tensor:
        """The mean."""
        return self.mean(x, t, cond)
