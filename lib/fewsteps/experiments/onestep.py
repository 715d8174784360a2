"""How wrong one call of a network is, frequency by frequency and noise level by noise level.

E|x0 - D(x_t)|^2 is what is unknown about a clean image after one look at a noisy one. Analytic-DPM needs its mean over
all frequencies, the same sampler with one variance per frequency needs all of it. A thousand training images and two
dozen noise levels tell both for every schedule and every number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import data, trained
from fewsteps.denoisers import Denoiser
from fewsteps.errors import DataError, ParameterError
from fewsteps.experiments import pixels, stored
from fewsteps.experiments.references import FOLDER
from fewsteps.samplers import white_noise
from fewsteps.schedules import Schedule, VPLinear
from fewsteps.schedules.continuous import scalar_time
from fewsteps.trained import Trained
from fewsteps.transforms import dct2

IMAGES = 1024
LEVELS = 25
ENDS = (0.004, 200.0)  # noise over signal, images in [0, 1]


@dataclass(frozen=True, eq=False)
class OneStep:
    """The error that one network call leaves, images in [0, 1].

    Attributes
    ----------
    levels : float64 Tensor, shape (n,)
        Noise over signal, increasing.
    error : float64 Tensor, shape (n, H, W)
        Mean square error of every DCT coefficient, mean over channels.
    power : float64 Tensor, shape (n, H, W)
        Mean square of every DCT coefficient of the prediction about the mean image.
    """

    levels: Tensor
    error: Tensor
    power: Tensor

    def unknown(self, level: float) -> Tensor:
        """The error per coefficient at a noise level, as a mask of shape (H, W): logarithms interpolated."""
        return self._at(level, self.error)

    def known(self, level: float) -> Tensor:
        """The power of the prediction per coefficient at a noise level, (H, W)."""
        return self._at(level, self.power)

    def _at(self, level: float, rows: Tensor) -> Tensor:
        x, y = self.levels.log(), rows.clamp_min(1e-30).log()
        at = torch.tensor(level, dtype=torch.float64).log().clamp(x[0], x[-1])
        place = int(torch.searchsorted(x, at).clamp(1, len(x) - 1))
        share = (at - x[place - 1]) / (x[place] - x[place - 1])
        return torch.lerp(y[place - 1], y[place], share).exp()

    def eps_power(self, schedule: Schedule, t: float) -> Tensor:
        """Gamma at every frequency, shape (H, W): 1 - V / ratio^2 with V the error under that schedule."""
        level = level_of(schedule, t)
        return 1 - self.unknown(level) / level**2


def level_of(schedule: Schedule, t: float) -> float:
    """Noise over signal at a time, for images in [0, 1]."""
    low, high = trained.span(schedule)
    return float(schedule.sigma(t) / schedule.alpha(t)) / (high - low)


def measure(model: Trained, *, told: bool = False) -> OneStep:
    """Ask a network once for each of `IMAGES` training images at each of `LEVELS` noise levels.

    Parameters
    ----------
    model : Trained
    told : bool
        Whether it is told the class of every image.

    Raises
    ------
    DataError
        If the training images are not at hand.
    ParameterError
        If the network works in latents, whose errors are not those of images.
    """
    if model.decoder is not None:
        raise ParameterError(f"{model.name} works in latents: its errors per frequency of an image are not defined.")
    source = model.card["data"]
    known = data.load(source["name"], "train", source["size"])
    chosen = some_of(len(known))
    clean, labels = known.images[chosen], known.labels[chosen] if told and known.labels is not None else None
    schedule = VPLinear() if model.predicts == "eps" else None
    denoiser = model.denoiser(schedule)
    levels = None
    if model.predicts == "score":
        said = model.card["predicts"]["sigmas"]
        levels = torch.tensor([said[-1], *said[:-1][::-1]], dtype=torch.float64)
    centre = pixels.read(source["name"], source["size"]).mean.float()
    return errors_of(
        denoiser, clean, centre, levels=levels, labels=labels, device=next(model.network.parameters()).device
    )


def some_of(count: int) -> Tensor:
    """Which `IMAGES` of so many errors are measured on, as indices."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(1))[:IMAGES]


def errors_of(
    denoiser: Denoiser,
    clean: Tensor,
    centre: Tensor,
    *,
    levels: Tensor | None = None,
    labels: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> OneStep:
    """Ask any denoiser once for each image at each noise level.

    Parameters
    ----------
    denoiser : Denoiser
    clean : Tensor, shape (N, C, H, W)
        Real images in [0, 1].
    centre : Tensor, shape (C, H, W)
        Their mean.
    levels : float64 Tensor, shape (n,), optional
        Noise over signal, increasing; `LEVELS` of them between `ENDS` if it is left out.
    labels : Tensor, shape (N,), optional
        The classes that the denoiser is told.
    device : optional
        Where the denoiser is.

    Returns
    -------
    OneStep
        Levels that its schedule does not reach are answered by its first or last time, so that they can be asked for.

    Raises
    ------
    ParameterError
        If the noise of its schedule is no single number at a time.

    Notes
    -----
    Source: BASE-ADDIM.
    """
    schedule = denoiser.schedule
    low, high = trained.span(schedule)
    if levels is None:
        levels = torch.logspace(math.log10(ENDS[0]), math.log10(ENDS[1]), LEVELS, dtype=torch.float64)
    errors, powers, time = [], [], scalar_time(schedule)
    centre = trained.from_images(centre, schedule)
    noise = white_noise(2)
    with torch.inference_mode():
        for level in levels.tolist():
            t = float(time(torch.tensor(level * (high - low))))
            t = min(max(t, float(schedule.t_min)), float(schedule.t_max))
            alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
            error, power = torch.zeros(2, *clean.shape[1:], dtype=torch.float64)
            for place, part in enumerate(clean.split(128)):
                x0 = trained.from_images(part, schedule)
                cond = labels if labels is None else labels.split(128)[place]
                noisy = (alpha * x0 + sigma * noise(tuple(x0.shape))).to(device)
                guess = denoiser.mean(noisy, t, cond if cond is None else cond.to(device)).cpu()
                error += dct2((guess - x0).double() / (high - low)).square().sum(0)
                power += dct2((guess - centre).double() / (high - low)).square().sum(0)
            errors.append(error.mean(0) / len(clean))
            powers.append(power.mean(0) / len(clean))
    return OneStep(levels, torch.stack(errors), torch.stack(powers))


def path_of(name: str, folder: Path = FOLDER) -> Path:
    """Where the errors of a network lie."""
    return folder / f"{name}.onestep"


def save(card: Mapping[str, Any], found: OneStep, told: OneStep | None = None, folder: Path = FOLDER) -> Path:
    """Write them, with the hash of the weights that they are of; with and without the class where there are classes."""
    about = {"network": card["name"], "weights": card["weights"]["sha256"], "images": IMAGES}
    tensors = {"levels": found.levels, "error": found.error.float(), "power": found.power.float()}
    if told is not None:
        tensors |= {"error, told": told.error.float(), "power, told": told.power.float()}
    return stored.keep(path_of(card["name"], folder), about, tensors)


def read(card: Mapping[str, Any], *, told: bool = False, folder: Path = FOLDER) -> OneStep:
    """What was measured of the network of a card, without the class of its images or told it.

    Raises
    ------
    DataError
        If nothing was, or of other weights.
    """
    name = card["name"]
    path = path_of(name, folder)
    again = f"python tools/measure_statistics.py onestep@{name} measures them."
    if not path.exists():
        raise DataError(f"the errors that {name} makes in one step are not known: {again}")
    about, tensors = stored.take(path, again)
    if about["weights"] != card["weights"]["sha256"]:
        raise DataError(f"the errors of {name} in one step were measured with other weights: {again}")
    suffix = ", told" if told else ""
    if f"error{suffix}" not in tensors:
        raise DataError(f"the errors that {name} makes when told the class are not known: {again}")
    return OneStep(*(tensors[name].double() for name in ("levels", f"error{suffix}", f"power{suffix}")))


def of(model: Trained, *, told: bool = False) -> OneStep:
    """What is shipped of a network; of one of which nothing is, it is measured once, with the training images at hand.

    Raises
    ------
    DataError
        If what is shipped is of other weights, or nothing is and the images are not at hand.
    """
    key = (model.card["weights"]["sha256"], told)
    if key not in _known:
        shipped = path_of(model.name).exists()
        _known[key] = read(model.card, told=told) if shipped else measure(model, told=told)
    return _known[key]


_known: dict[tuple[str, bool], OneStep] = {}
