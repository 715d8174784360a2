"""The index page's laboratory: a trained network sampling twice from the same noise, without and with TDAS' filter.

In the static page the network runs in the browser, exported by :mod:`fewsteps.export`; with a kernel torch runs it
here, and the steps travel to the page as they are made. Both draw the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from fewsteps import checkpoints, export, schedules, trained
from fewsteps.errors import ParameterError
from fewsteps.filters import tdas
from fewsteps.parameters import integer, number
from fewsteps.samplers import Step
from fewsteps.samplers.walk import Noise
from fewsteps.schedules import VE
from fewsteps.theory import RIVALS
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.course import Course, Message, without_gradients

__all__ = ["SamplingLab", "gaussians"]

SAMPLERS = ("reverse", "ancestral", "ddim", "dpmpp_2m", "heun")
VIEWS = ("state", "mean")
ROWS = 8  # images in each of the two rows
STEPS = (2, 60)
SIZE = 64  # pixels; beyond, a browser takes a minute for what a page should show
RUNTIME_BYTES = 14_312_951  # onnxruntime-web as the book serves it; the tests look
RHO = 7.0


class SamplingLab(Course):
    """A shipped network sampling in the page: eight images as the sampler makes them, eight with its noise filtered.

    Images in [0, 1] on the variance exploding process, EDM's grid of noise levels. The filter is TDAS' with one zone;
    both rows start from the same noise z, one of them from M z, and so with all noise that the sampler injects.

    Parameters
    ----------
    network : str
        A checkpoint under EDM's preconditioning, of at most 64 x 64 pixels.
    sampler : str
        "reverse", "ancestral", "ddim", "dpmpp_2m" or "heun".
    steps : int
        From 2 to 60; one network call each, with Heun two.
    lam, r : float
        Gain, 0.5 to 1.5, outside of a radius, 0 to 1, in units of the height.
    seed : int
        From 0 to 99, of the page's own generator.
    label : int
        A class, or -1 for any.
    view : {"state", "mean"}
        Whether the page shows what the sampler holds or what the network predicts.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint.
    ParameterError
        If the network is of another kind or size, or a number is out of range.

    Notes
    -----
    Source: TDAS-3, Eq. 4-5; TDAS-4, Eq. 6 (one zone), on a trained network.
    """

    _esm = bundle("sampling_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    sampler = traitlets.Any("reverse").tag(sync=True)
    steps = traitlets.Any(20).tag(sync=True)
    lam = traitlets.Any(0.8).tag(sync=True)
    r = traitlets.Any(0.2).tag(sync=True)
    seed = traitlets.Any(3).tag(sync=True)
    label = traitlets.Any(-1).tag(sync=True)
    view = traitlets.Any("state").tag(sync=True)

    def __init__(self, network: str = "mnist", **traits: Any) -> None:
        card = export.require_edm(checkpoints.card(network))
        size, channels = card["data"]["size"], card["network"]["channels"]
        if size > SIZE:
            raise ParameterError(f"network must make images of at most {SIZE} pixels, and {network} makes {size}.")
        classes = int(card["network"].get("classes", 0))
        self._checks: dict[str, Callable[[Any], Any]] = {
            "sampler": lambda value: _one_of("sampler", value, SAMPLERS),
            "steps": lambda value: integer("steps", value, least=STEPS[0], most=STEPS[1]),
            "lam": lambda value: number("lam", value, least=0.5, most=1.5),
            "r": lambda value: number("r", value, least=0, most=1, why="units of the height"),
            "seed": lambda value: integer("seed", value, least=0, most=99),
            "label": lambda value: integer("label", value, least=-1, most=classes - 1),
            "view": lambda value: _one_of("view", value, VIEWS),
        }
        self._network, self._weights = network, card["weights"]["sha256"]
        schedule = VE()
        super().__init__(
            setting={
                "network": network,
                "shape": [channels, size, size],
                "classes": classes,
                "kind": "Digit" if "digit" in card["title"].lower() else "Class",
                "highest": schedule.t_max,
                "lowest": schedule.t_min,
                "rho": RHO,
                "rows": ROWS,
                "file": export.file_name(card),
                "megabytes": round((card["weights"]["bytes"] + RUNTIME_BYTES) / 1e6),
            },
            **traits,
        )
        self.on_msg(self._hear)

    @traitlets.validate("sampler", "steps", "lam", "r", "seed", "label", "view")
    def _within_range(self, proposal: Any) -> Any:
        return self._checks[proposal.trait.name](proposal.value)

    def walk(self) -> Iterator[Step]:
        """The run that the controls describe now, step by step, by the library's own samplers.

        Returns
        -------
        iterator of Step
            Of 16 images, of which the first 8 are without the filter.

        Raises
        ------
        ShapeError
            If the network returns NaN.

        Notes
        -----
        Source: TDAS-3; BASE-VE-PC, BASE-VE-ANC, BASE-DDIM, BASE-DPMS, BASE-HEUN.
        """
        model = _loaded(self._network, self._weights)
        rival, schedule = RIVALS[self.sampler], VE()
        steps = rival.sampler(
            model.denoiser(schedule),
            (2 * ROWS, *model.shape),
            schedules.karras(schedule, self.steps, rho=RHO),
            noise=twins(self.seed, model.shape[-1], self.lam, self.r),
            cond=torch.full((2 * ROWS,), self.label) if model.classes else None,
            **rival.named,
        )
        return without_gradients(steps)

    def _messages(self) -> Iterator[Message]:
        steps = self.walk()
        return (({"i": s.i, "nfe": s.nfe, "level": s.t}, (s.x, s.x0_hat)) for s in steps)


def twins(seed: int, size: int, lam: float, r: float) -> Noise:
    """Noise for a batch whose second half is M times its first: one draw, without and with the filter.

    ``Filter.apply``, not ``Filter.noise``: the latter has the law of M z and other numbers.

    Parameters
    ----------
    seed, size : int
    lam, r : float
        Of a TDAS filter with one zone.

    Returns
    -------
    callable
        From a shape with an even first axis to a float32 Tensor; every call draws further numbers.
    """
    filt, drawn = tdas((size, size), lam, r), 0

    def noise(shape: tuple[int, ...]) -> Tensor:
        nonlocal drawn
        half = (shape[0] // 2, *shape[1:])
        count = int(np.prod(half))
        z = torch.from_numpy(gaussians(count, seed, drawn)).reshape(half)
        drawn += count
        return torch.cat((z, filt.apply(z))).float()

    return noise


def gaussians(count: int, seed: int, skip: int = 0) -> np.ndarray:
    """The page's standard normal numbers, mulberry32 and Box-Muller, as ``kit.js`` makes them.

    Parameters
    ----------
    count, seed : int
    skip : int
        How many numbers of the sequence to leave out; even.

    Returns
    -------
    float64 array, shape (count,)
    """
    k = np.arange(skip + 1, skip + 1 + count + count % 2, dtype=np.uint64)
    state = ((seed + k * 0x6D2B79F5) & 0xFFFFFFFF).astype(np.uint32)
    t = (state ^ (state >> 15)) * (state | 1)  # uint32 wraps around, as Math.imul does
    t ^= t + (t ^ (t >> 7)) * (t | 61)
    uniform = (t ^ (t >> 14)) / 2.0**32
    radius, angle = np.sqrt(-2 * np.log(1 - uniform[::2])), 2 * np.pi * uniform[1::2]
    return np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).ravel()[:count]


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise ParameterError(f"{name} must be one of {', '.join(known)}, not {value!r}.")
    return value


@lru_cache(maxsize=4)
def _loaded(name: str, weights: str) -> trained.Trained:
    """The network, kept for these weights: one that is still training changes under its name."""
    return trained.load(name)
