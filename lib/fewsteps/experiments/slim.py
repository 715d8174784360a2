"""Spectral Diffusion's measurements: what a network costs, what frequencies its images lose, what its gates do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fewsteps import checkpoints, samplers, spectra, trained, transforms
from fewsteps.errors import ParameterError
from fewsteps.experiments.sampling import Plan, draw
from fewsteps.networks import WaveletDown, WaveletUp, build
from fewsteps.networks.wavelet import Gate
from fewsteps.parameters import integer
from fewsteps.schedules import VE
from fewsteps.trained import Trained
from fewsteps.training import recipe

TEACHER, LITE, SLIM = "teacher", "Lite", "gates, spatial, frequency"
ANSWER = "the teacher's answer in place of the data"
FEWER = "teacher, as many multiply-adds"
BANDS = ("LL", "LH", "HL", "HH")
COLUMNS = {
    "Lite": "lite",
    "gates": "w",
    "spatial": "s",
    "frequency": "f",
    "gates, spatial": "ws",
    "spatial, frequency": "sf",
    "gates, frequency": "wf",
    "gates, spatial, frequency": "wsf",
    "learned weights in place of gates": "haar",
    "all three, every frequency alike": "flat",
    "all three, features by their size": "wsf-relative",
    "spatial, a tenth of its weight": "s-tenth",
    "all three, a tenth of their weights": "wsf-tenth",
    ANSWER: "answer",
}
"""Table 5's columns, "none" to "all", two controls and four more attempts: what they are called, how recipes end."""


def family(teacher: str, folder: Path = checkpoints.FOLDER) -> dict[str, str]:
    """The teacher and its slim networks that are there: what they are called, and their checkpoints.

    Parameters
    ----------
    teacher : str
        Of a checkpoint.
    folder : Path
    """
    known = set(checkpoints.names(folder))
    said = {"teacher": teacher} | {called: f"{teacher}-{end}" for called, end in COLUMNS.items()}
    return {called: name for called, name in said.items() if name in known}


@dataclass(frozen=True)
class Cost:
    """What one network call takes.

    Attributes
    ----------
    parameters : int
    macs : int
        Multiply-adds for one image.
    """

    parameters: int
    macs: int


def cost(model: Trained) -> Cost:
    """Parameters, and multiply-adds of one image by torch's own counter.

    Parameters
    ----------
    model : Trained

    Notes
    -----
    The counter sees matrix products, convolutions and attention. Norms, activations and the Haar transform, which is
    additions, are not in it; nor are they in the paper's.

    Source: SD-8, Tables 2 and 3.
    """
    device = next(model.network.parameters()).device
    x = torch.zeros(1, *model.shape, device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.network(x, x.new_ones(1))
    return Cost(sum(p.numel() for p in model.network.parameters()), counter.get_total_flops() // 2)


def designs(teacher: str) -> dict[str, Trained]:
    """The teacher and its slim networks as their recipes describe them, with the weights that training begins with.

    What a network costs does not depend on its weights.

    Parameters
    ----------
    teacher : str
        Of a recipe that has slim ones beside it.

    Raises
    ------
    ParameterError
        If there is no such recipe.

    Notes
    -----
    Source: SD-8.
    """
    found = {}
    for called, name in {TEACHER: teacher, **{called: f"{teacher}-{end}" for called, end in COLUMNS.items()}}.items():
        made = recipe(name)
        described = made.network.get("network", made.network)  # of a student without what compares it
        card = {"name": name, "network": described, "data": {"name": made.data, "size": made.size}}
        found[called] = Trained(card, build(described).eval())
    return found


def throughput(models: Mapping[str, Trained], batch: int = 64, runs: int = 30) -> dict[str, tuple[float, float]]:
    """Images per second through one network call, of all networks in turns.

    In turns, so that whatever else the machine does falls on all of them.

    Parameters
    ----------
    models : mapping of name to Trained
    batch, runs : int

    Returns
    -------
    mapping of name to (median, half the distance between the quartiles)

    Notes
    -----
    Source: SD-8, Fig. 6: batch 64, 30 runs.
    """
    integer("batch", batch, least=1)
    integer("runs", runs, least=1)
    taken: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for turn in range(runs + 2):  # two that only warm up
            for name, model in models.items():
                device = next(model.network.parameters()).device
                x = torch.zeros(batch, *model.shape, device=device)
                begin = time.perf_counter()
                model.network(x, x.new_ones(batch))
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                if turn > 1:
                    taken[name].append(batch / (time.perf_counter() - begin))
    found = {}
    for name, rates in taken.items():
        low, middle, high = torch.tensor(rates, dtype=torch.float64).quantile(
            torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        )
        found[name] = (float(middle), float(high - low) / 2)
    return found


def bands(images: Tensor, real: Tensor) -> tuple[float, float]:
    """Low and high frequency error of generated images, at the paper's cut in cycles per pixel.

    Parameters
    ----------
    images, real : Tensor, shape (N, C, H, W)

    Notes
    -----
    Source: SD-3, Table 1.
    """
    said = spectra.band_error(images, real)
    return said.low, said.high


@dataclass(frozen=True)
class Gates:
    """The gates of one layer while images were made.

    Attributes
    ----------
    layer : str
        As in "down 1", counted from the image inwards, or "up 1", counted from the coarse end outwards.
    times : Tensor, shape (steps,)
        Noise at every step, in units of the spread of the data.
    mean, spread : Tensor, shape (steps, 4)
        By band, LL, LH, HL and HH: mean over images and channels, and standard deviation over images.
    by_time : Tensor, shape (4,)
        Share of a gate's variance, over steps and images, that is between steps: the mean over channels.
    """

    layer: str
    times: Tensor
    mean: Tensor
    spread: Tensor
    by_time: Tensor


def layers(network: nn.Module) -> dict[str, Gate]:
    """A network's gates by the name of their layer, in the order in which they are passed.

    Raises
    ------
    ParameterError
        If it has none.
    """
    found: dict[str, Gate] = {}
    for kind, wanted in (("down", WaveletDown), ("up", WaveletUp)):
        made = [m.gate for m in network.modules() if isinstance(m, wanted) and isinstance(m.gate, Gate)]
        found |= {f"{kind} {k + 1}": gate for k, gate in enumerate(made) if isinstance(gate, Gate)}
    if not found:
        raise ParameterError("this network has no gates: it was not made with resample='gated'.")
    return found


@dataclass
class _Watch:
    """What a gate said at every call."""

    said: list[Tensor] = field(default_factory=list)

    def __call__(self, module: nn.Module, given: tuple[Tensor, ...], said: Tensor) -> None:
        self.said.append(said[..., 0, 0].detach().float().cpu())  # (4, B, C)


@contextmanager
def _hooked(gates: Mapping[str, Gate], hooks: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, gate in gates.items():
            stack.callback(gate.register_forward_hook(hooks[name]).remove)
        yield


def watched(model: Trained, plan: Plan) -> tuple[Tensor, list[Gates]]:
    """Images of a plan, and what every gate said while they were made.

    Parameters
    ----------
    model : Trained
        With gates.
    plan : Plan
        One call a step, as DDIM takes: its count is one shard.

    Returns
    -------
    (Tensor, list of Gates)

    Raises
    ------
    ParameterError
        If the network has no gates.

    Notes
    -----
    Source: SD-9, Fig. 9.
    """
    gates = layers(model.network)
    watches, clocks = {name: _Watch() for name in gates}, list[float]()

    def clock(network: nn.Module, given: tuple[Tensor, ...]) -> None:
        clocks.append(float(given[1][0]))

    noting = model.network.register_forward_pre_hook(clock)
    try:
        with _hooked(gates, watches):
            images = draw(model, plan, batch=plan.count).images
    finally:
        noting.remove()
    times = (4 * torch.tensor(clocks, dtype=torch.float64)).exp()  # denoisers.edm.clock undone
    found = []
    for name, watch in watches.items():
        said = torch.stack(watch.said).double()  # (steps, 4, B, C)
        between = said.mean(2).var(0, unbiased=False)
        total = said.transpose(1, 2).flatten(0, 1).var(0, unbiased=False)
        found.append(
            Gates(
                name,
                times,
                said.mean((2, 3)),
                said.mean(3).std(2),
                (between / total.clamp(min=1e-12)).mean(1),
            )
        )
    return images, found


@contextmanager
def held(model: Trained, plan: Plan) -> Iterator[Trained]:
    """The same network with every gate at its mean over time and images of a plan: gates that see nothing.

    Parameters
    ----------
    model : Trained
    plan : Plan
        Of other seeds than those that are judged.

    Notes
    -----
    Source: SD-5, the control of Fig. 9: what a gate is worth beyond the numbers that it takes on average.
    """
    gates = layers(model.network)
    watches = {name: _Watch() for name in gates}
    with _hooked(gates, watches):
        draw(model, plan, batch=plan.count)
    means = {name: torch.stack(watch.said).mean((0, 2)) for name, watch in watches.items()}  # (4, C)
    with _hooked(gates, {name: partial(_instead, mean[:, None, :, None, None]) for name, mean in means.items()}):
        yield model


def _instead(mean: Tensor, module: nn.Module, given: tuple[Tensor, ...], said: Tensor) -> Tensor:
    return mean.to(said).expand_as(said)


@torch.no_grad()
def difference(
    teacher: Trained, student: Trained, images: Tensor, level: float, *, seed: int = 0, batch: int = 128
) -> tuple[Tensor, Tensor]:
    """What a student says otherwise than its teacher, frequency by frequency, from the same noisy images.

    Parameters
    ----------
    teacher, student : Trained
    images : Tensor, shape (N, C, H, W)
        Real, in [0, 1].
    level : float
        Noise over the spread of the pixels of these images.
    seed, batch : int

    Returns
    -------
    (Tensor, Tensor)
        Cycles per pixel, the zero frequency left out; and the power of the difference of the two predictions of the
        clean image over the variance of the teacher's, by ring of DCT frequencies. Both are told no class.

    Notes
    -----
    Source: SD-9, Fig. 10, which shows pictures of such differences: here as numbers.
    """
    schedule = VE(1e-3, 100)
    models = [model.denoiser(schedule) for model in (teacher, student)]
    noise = samplers.white_noise(seed)
    sigma = level * float(images.double().std())
    apart, power = (torch.zeros(images.shape[-2:], dtype=torch.float64) for _ in range(2))
    total = torch.zeros(images.shape[1:], dtype=torch.float64)
    for clean in images.split(batch):
        noisy = clean + sigma * noise(tuple(clean.shape))
        wanted, said = (transforms.dct2(model.mean(noisy, sigma).double()) for model in models)
        apart += (said - wanted).square().sum((0, 1))
        power += wanted.square().sum((0, 1))
        total += wanted.sum(0)
    power -= total.square().sum(0) / len(images)  # about the mean of all images
    rings = [spectra.radial_mean(value, "dct") for value in (apart, power)]
    return rings[0].frequency[1:], rings[0].power[1:] / rings[1].power[1:]


def load(teacher: str, folder: Path = checkpoints.FOLDER) -> dict[str, Trained]:
    """All networks of :func:`family`."""
    return {called: trained.load(name, folder) for called, name in family(teacher, folder).items()}
