"""The index page's laboratory: a trained network sampling twice from the same noise, the second time with a remedy.

In the static page the network runs in the browser, exported by :mod:`fewsteps.export`; with a kernel torch runs it
here, and the steps travel to the page as they are made. Both draw the same noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
import traitlets
from torch import Tensor

from fewsteps import checkpoints, export, schedules, spectra, trained
from fewsteps.denoisers import Corrected, Denoiser, MeanOnly
from fewsteps.errors import ParameterError
from fewsteps.filters import tdas
from fewsteps.parameters import integer, number
from fewsteps.samplers import Step
from fewsteps.samplers.walk import Noise
from fewsteps.schedules import VE, Schedule
from fewsteps.theory import RIVALS
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.course import Course, Message, without_gradients

__all__ = ["SamplingLab", "gaussians"]

SAMPLERS = ("reverse", "ancestral", "ddim", "dpmpp_2m", "heun")
ANY, EACH = -1, -2  # in place of a class
VIEWS = ("state", "mean")
SECOND = ("filter", "corrected")
"""What the second row of images has: its noise through TDAS' filter, or its predictions put right."""
FINER = 16  # levels of the page's table to one that was measured: between them it interpolates powers of whole rings
ROWS = 8  # images in each of the two rows
STEPS = (2, 60)
SIZE = 64  # pixels; beyond, a browser takes a minute for what a page should show
RUNTIME_BYTES = 14_312_951  # onnxruntime-web as the book serves it; the tests look
RHO = 7.0


@runtime_checkable
class Matching(Protocol):
    """What :class:`fewsteps.denoisers.Corrected` asks for gains, and the masks that it gave."""

    gains: list[Tensor]

    def __call__(self, k: int, t: float, power: Tensor) -> Tensor:
        """The mask of the k-th call."""
        ...


@runtime_checkable
class Ideal(Protocol):
    """What the power of predictions should be, as :func:`fewsteps.experiments.prediction.ideal` says it."""

    schedule: Schedule
    around: Tensor
    data: Tensor

    @property
    def levels(self) -> Tensor:
        """Noise levels at which it was measured, increasing."""
        ...

    def wanted(self, t: float) -> Tensor:
        """By ring of frequencies, at a noise level."""
        ...

    def matching(self) -> Matching:
        """For one run."""
        ...


class SamplingLab(Course):
    """A shipped network sampling in the page: eight images as the sampler makes them, eight with a remedy.

    Images in [0, 1] on the variance exploding process, EDM's grid of noise levels. The remedy is TDAS' filter with one
    zone: both rows start from the same noise z, one of them from M z, and so with all noise that the sampler injects.
    Or, where it is known what power predictions should have, gains per ring of frequencies that give it to them. Here
    these come from the eight images themselves, so that any sampler and any number of steps can be tried.

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
        A class, -1 for any, or -2 for one image of each. Where predictions are corrected it must be one of the last
        two: what power the predictions of one class should have is not known.
    view : {"state", "mean"}
        Whether the page shows what the sampler holds or what the network predicts.
    second : {"filter", "corrected"}
        The remedy of the second row.
    ideal, told : optional
        Of :func:`fewsteps.experiments.prediction.ideal` on VE, for "corrected"; `told` of a network that is told
        classes, which knows more then.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint.
    ParameterError
        If the network is of another kind or size, a number is out of range, "corrected" is asked for without `ideal`
        or with one class, or `ideal` and `told` are not of this network and VE.

    Notes
    -----
    Source: TDAS-3, Eq. 4-5; TDAS-4, Eq. 6 (one zone), on a trained network; beyond the papers.
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
    second = traitlets.Any("filter").tag(sync=True)
    powers = traitlets.Bytes(None, allow_none=True).tag(sync=True)  # bytes have no place on the page of prose

    def __init__(
        self, network: str = "mnist", *, ideal: Ideal | None = None, told: Ideal | None = None, **traits: Any
    ) -> None:
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
            "label": lambda value: integer("label", value, least=-2 if classes else -1, most=classes - 1),
            "view": lambda value: _one_of("view", value, VIEWS),
            "second": lambda value: _one_of("second", value, SECOND if ideal is not None else SECOND[:1]),
        }
        self._ideals = _checked(ideal, told, (channels, size, size), classes)
        levels = _finer(ideal.levels) if ideal is not None else torch.zeros(0)
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
                "levels": levels.tolist(),
                "ideals": len(self._ideals),
            },
            powers=_packed(self._ideals, levels),
            **traits,
        )
        self._labels()
        self.on_msg(self._hear)

    @traitlets.validate("sampler", "steps", "lam", "r", "seed", "label", "view", "second")
    def _within_range(self, proposal: Any) -> Any:
        return self._checks[proposal.trait.name](proposal.value)

    def walk(self) -> Iterator[Step]:
        """The run that the controls describe now, step by step, by the library's own samplers.

        Returns
        -------
        iterator of Step
            Of 16 images, of which the first 8 are without the remedy.

        Raises
        ------
        ParameterError
            If predictions of one class are to be corrected.
        ShapeError
            If the network returns NaN.

        Notes
        -----
        Source: TDAS-3; beyond the papers; BASE-VE-PC, BASE-VE-ANC, BASE-DDIM, BASE-DPMS, BASE-HEUN.
        """
        return self._run()[0]

    def _run(self) -> tuple[Iterator[Step], list[Tensor]]:
        """The steps, and the gains by which predictions of the second row are multiplied, call by call."""
        model = _loaded(self._network, self._weights)
        rival, schedule = RIVALS[self.sampler], VE()
        denoiser: Denoiser = model.denoiser(schedule)
        labels, lam, gains = self._labels(), self.lam, list[Tensor]()
        if self.second == "corrected":
            lam, ideal = 1.0, self._ideals[0 if self.label == ANY else -1]
            matching = ideal.matching()
            gains = matching.gains
            denoiser = _SecondRow(denoiser, matching, ideal.around.float())
        steps = rival.sampler(
            denoiser,
            (2 * ROWS, *model.shape),
            schedules.karras(schedule, self.steps, rho=RHO),
            noise=twins(self.seed, model.shape[-1], lam, self.r),
            cond=labels,
            **rival.named,
        )
        return without_gradients(steps), gains

    def _labels(self) -> Tensor | None:
        """The class of each of the 16 images."""
        classes = self.setting["classes"]
        if self.second == "corrected" and self.label >= 0:
            raise ParameterError(
                f"label must be {ANY} (any) or {EACH} (one of each) where predictions are corrected, not {self.label}: "
                "what power those of one class should have is not known."
            )
        if not classes:
            return None
        one = torch.arange(ROWS) % classes if self.label == EACH else torch.full((ROWS,), self.label)
        return one.repeat(2)

    def _messages(self) -> Iterator[Message]:
        steps, gains = self._run()  # now, and not in the thread that makes the steps: the controls may move on

        def said(step: Step) -> dict[str, Any]:
            last = {"gains": _by_ring(gains[-1])} if gains else {}
            return {"i": step.i, "nfe": step.nfe, "level": step.t} | last

        return ((said(step), (step.x, step.x0_hat)) for step in steps)


class _SecondRow(MeanOnly):
    """A denoiser that puts right what it predicts of the second half of a batch."""

    def __init__(self, model: Denoiser, matching: Matching, around: Tensor) -> None:
        self.model, self.second = model, Corrected(model, matching, around)

    @property
    def schedule(self) -> Schedule:
        """That of the model."""
        return self.model.schedule

    def mean(self, x: Tensor, t: Any, cond: Any = None) -> Tensor:
        """The model's mean of the first half, and its mean with gains of the second."""
        parts = (None, None) if cond is None else cond.chunk(2)
        first, second = x.chunk(2)
        return torch.cat((self.model.mean(first, t, parts[0]), self.second.mean(second, t, parts[1])))


def _finer(levels: Tensor) -> Tensor:
    """`FINER` times as many steps in the logarithm, the given levels among them."""
    place = torch.arange((len(levels) - 1) * FINER + 1, dtype=torch.float64) / FINER
    low = place.long().clamp_max(len(levels) - 2)
    return torch.lerp(levels.log()[low], levels.log()[low + 1], place - low).exp()


def _checked(ideal: Ideal | None, told: Ideal | None, shape: tuple[int, ...], classes: int) -> list[Ideal]:
    """The ideals that there are, if they are of this network."""
    if told is not None and (ideal is None or not classes):
        raise ParameterError("told must be given beside ideal, and of a network that knows classes.")
    found = [one for one in (ideal, told) if one is not None]
    for one in found:
        if tuple(one.around.shape) != shape or not isinstance(one.schedule, VE):
            raise ParameterError(f"ideal and told must be of images {shape} on VE, not {tuple(one.around.shape)}.")
    return found


def _packed(ideals: list[Ideal], levels: Tensor) -> bytes | None:
    """Of each what powers should be, level by level and ring by ring; then those of data, and its mean image."""
    if not ideals:
        return None
    parts = [torch.stack([one.wanted(float(t)) for t in levels]) for one in ideals]
    parts += [ideals[0].data, ideals[0].around]
    return np.concatenate([part.numpy().ravel() for part in parts]).astype("<f4").tobytes()


def _by_ring(gain: Tensor) -> list[float]:
    """A mask that is the same all along a ring, from the zero frequency to the corner."""
    ring = spectra.square_distance((gain.shape[-2], gain.shape[-1]), "dct").sqrt().round().long()
    found = torch.zeros(int(ring.max()) + 1, dtype=torch.float64)
    found[ring.flatten()] = gain.double().flatten()
    return found.tolist()


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
