"""SD's toy: does a small network lose the rare frequency, and is it because the frequency is high?

Signals cos(2 pi k u) with k = 3 most of the time and k = 5 now and then, or the other way round; a two-layer network;
1000 denoising steps. The paper leaves the rest open, so every other choice that could decide the outcome is a control.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fewsteps.denoisers import Clipped, Denoiser, FromEps, FromX0
from fewsteps.errors import ParameterError
from fewsteps.networks import SignalNet
from fewsteps.parameters import integer, seed
from fewsteps.samplers import ddpm, last, white_noise
from fewsteps.schedules import Discrete, uniform

SHARE = 0.8
CLEAN = 0.8
FREQUENCIES = (3, 5)


@dataclass(frozen=True)
class Setting:
    """One training run of the toy.

    Attributes
    ----------
    width : int
        Hidden units, the paper's M: 64 and 1024.
    majority : {3, 5}
        The frequency of 80 % of the signals; the other one has 20 %.
    prediction : {"eps", "x0"}
        What the network is trained to predict.
    phase : {"fixed", "random"}
        Fixed: there are two signals in all. Random: every signal has a phase of its own.
    length : int
        Samples per signal. The paper gives none; what counts is whether the hidden layer is narrower.
    iterations, batch, rate
        Of Adam, the rate falling to zero along a cosine.
    seeds : int
        Networks, each with its own weights and data.
    """

    width: int = 64
    majority: Literal[3, 5] = 3
    prediction: Literal["eps", "x0"] = "eps"
    phase: Literal["fixed", "random"] = "fixed"
    length: int = 32
    iterations: int = 4000
    batch: int = 128
    rate: float = 1e-3
    seeds: int = 5

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("majority", self.majority, FREQUENCIES),
            ("prediction", self.prediction, ("eps", "x0")),
            ("phase", self.phase, ("fixed", "random")),
        ):
            if value not in allowed:
                raise ParameterError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}.")
        integer("length", self.length, least=2 * max(FREQUENCIES) + 2)
        integer("iterations", self.iterations, least=1)

    @property
    def minority(self) -> int:
        """The rare frequency."""
        return sum(FREQUENCIES) - self.majority


def signals(setting: Setting, count: int, generator: torch.Generator) -> Tensor:
    """Clean signals, shape (count, seeds, length).

    Notes
    -----
    Source: SD-2, Example 1.
    """
    shape = (count, setting.seeds, 1)
    rare = torch.rand(shape, generator=generator) >= SHARE
    k = torch.where(rare, setting.minority, setting.majority)
    phase = 2 * math.pi * torch.rand(shape, generator=generator) if setting.phase == "random" else 0.0
    return torch.cos(2 * math.pi * k * torch.arange(setting.length) / setting.length + phase)


def train(setting: Setting, seed_of_run: int = 0, *, progress: Callable[[Iterable], Iterable] = iter) -> Denoiser:
    """Train the networks of a setting.

    Parameters
    ----------
    setting : Setting
    seed_of_run : int
    progress : callable
        Wraps the iterations, for a bar.

    Returns
    -------
    Denoiser
        On states of shape (B, seeds, length).

    Raises
    ------
    ParameterError
        If a number is out of range.

    Notes
    -----
    Source: SD-2, Example 1.
    """
    generator = torch.Generator().manual_seed(seed(seed_of_run))
    schedule = Discrete.linear(1000)
    network = SignalNet(setting.length, setting.width, setting.seeds, generator=generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=setting.rate)
    slope = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, setting.iterations)
    signal, spread = (
        f(torch.arange(schedule.steps + 1)).float()[:, None, None] for f in (schedule.alpha, schedule.sigma)
    )
    for _ in progress(range(setting.iterations)):
        x0 = signals(setting, setting.batch, generator)
        t = torch.randint(1, schedule.steps + 1, (setting.batch,), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        said = network(signal[t] * x0 + spread[t] * eps, t / schedule.steps)
        # A sum over copies: each is trained by its own error alone.
        loss = (said - (eps if setting.prediction == "eps" else x0)).square().mean((0, 2)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        slope.step()
    adapter = FromEps if setting.prediction == "eps" else FromX0
    return adapter(network.eval(), schedule, time=lambda t: t / schedule.steps)


@torch.no_grad()
def sample(model: Denoiser, setting: Setting, *, clip: bool, count: int = 300, seed_of_noise: int = 1) -> Tensor:
    """Signals generated with 1000 steps of DDPM, shape (count, seeds, length).

    The variance is the posterior's, which DDPM calls the small one; SD's Eq. 5 prints the large one.

    Parameters
    ----------
    model : Denoiser
        From :func:`train`.
    setting : Setting
    clip : bool
        Whether every prediction of x0 is cut to [-1, 1], the range of the data. To be decided before looking.
    count : int
        300 in the paper.
    seed_of_noise : int

    Returns
    -------
    Tensor
    """
    shape = (count, setting.seeds, setting.length)
    model = Clipped(model, -1, 1) if clip else model
    return last(ddpm(model, shape, uniform(model.schedule, 1000), noise=white_noise(seed_of_noise)))


def magnitudes(x: Tensor) -> Tensor:
    """Amplitude of every frequency 0, 1, ..., length / 2: a clean signal has 1 at its own.

    Notes
    -----
    Source: SD-2, Fig. 4.
    """
    spectrum = torch.fft.rfft(x, dim=-1).abs() * (2 / x.shape[-1])
    spectrum[..., 0] /= 2
    if x.shape[-1] % 2 == 0:
        spectrum[..., -1] /= 2
    return spectrum


def recovered(x: Tensor, k: int) -> Tensor:
    """Share of signals that are the cosine of frequency k, per seed.

    A signal counts if at least 80 % of the sum of its squared amplitudes lies at k and its amplitude there is between
    1/2 and 3/2. (Of its power, the mean and the highest frequency would count twice as much as they do here.)

    Parameters
    ----------
    x : Tensor, shape (count, seeds, length)
    k : int

    Returns
    -------
    Tensor, shape (seeds,)

    Notes
    -----
    Source: SD-2, Fig. 4: what its histogram shows by eye.
    """
    amplitude = magnitudes(x)
    power = amplitude.square()
    share = power[..., k] / power.sum(-1).clamp_min(1e-12)
    return ((share >= CLEAN) & (amplitude[..., k] > 0.5) & (amplitude[..., k] < 1.5)).float().mean(0)


def row(setting: Setting, x: Tensor, *, clip: bool, shown: int = 8) -> dict[str, Any]:
    """One row of the result table.

    Parameters
    ----------
    setting : Setting
    x : Tensor, shape (count, seeds, length)
    clip : bool
    shown : int
        How many signals of the first seed are kept for the page.

    Returns
    -------
    dict
        The setting, what was recovered per seed, the mean magnitudes, and some signals.
    """

    def rounded(values: Tensor, digits: int = 4) -> list:
        return [round(float(v), digits) for v in values]

    # What diverged is kept within what a page can draw; its amplitude stands in `spread`.
    return {
        **asdict(setting),
        "clip": clip,
        "samples": len(x),
        "majority_recovered": rounded(recovered(x, setting.majority)),
        "minority_recovered": rounded(recovered(x, setting.minority)),
        "spread": rounded(x.std((0, 2)), 3),
        "mean_magnitude": rounded(magnitudes(x).mean((0, 1)).clamp_max(99)),
        "signals": [rounded(signal.clamp(-9, 9), 2) for signal in x[:shown, 0]],
    }
