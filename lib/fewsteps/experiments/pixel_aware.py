"""PixelAware as a generative model: its networks together, the ways to an image from one pass, and where they begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, results, samplers, trained
from fewsteps.errors import CheckpointError, ParameterError
from fewsteps.experiments import starts
from fewsteps.experiments.starts import Law
from fewsteps.networks import ScaleVAE
from fewsteps.parameters import integer
from fewsteps.schedules import PIXEL_MIN, PixelAware, brightness, diffuse, to_scale
from fewsteps.trained import Trained

BATCH = 128  # images per network call
BINS = 8  # of brightness, in which errors are known


def _asked(model: Trained, call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A call of a network on whatever device it is, whose answer lies where the question came from."""
    device = next(model.network.parameters()).device

    def ask(*given: Tensor) -> Tensor:
        with torch.inference_mode():
            return call(*(part.to(device) for part in given)).to(given[0].device)

    return ask


@dataclass(frozen=True, eq=False)
class Estimator:
    """A scale estimator G.

    Attributes
    ----------
    model : Trained
    """

    model: Trained

    def __post_init__(self) -> None:
        if self.model.predicts != "scale":
            raise CheckpointError(
                f"{self.model.name} is no scale estimator: it is of the kind {self.model.predicts!r}."
            )

    @property
    def network(self) -> ScaleVAE:
        """G itself."""
        assert isinstance(self.model.network, ScaleVAE)
        return self.model.network

    @property
    def gamma(self) -> float:
        """Of the process that it was trained on."""
        return float(self.model.card["predicts"]["gamma"])

    @property
    def steps(self) -> int:
        """T."""
        return int(self.model.card["predicts"]["steps"])

    def scale(self, x: Tensor, i: int) -> Tensor:
        """The estimated scale of states of step i.

        Raises
        ------
        ParameterError
            If i is not from 1 to T.

        Notes
        -----
        Source: PX-5.
        """
        t = integer("i", i, least=1, most=self.steps) / self.steps
        ask = _asked(self.model, lambda part: self.network(part, part.new_full((len(part),), t))[0])
        said = [ask(part) for part in x.split(BATCH)]
        return to_scale(torch.cat(said), self.model.card["predicts"]["estimates"], self.gamma)

    def vectors(self, x: Tensor, i: int) -> Tensor:
        """Means of the vectors of states of step i, (N, latent)."""
        t = integer("i", i, least=1, most=self.steps) / self.steps
        ask = _asked(self.model, lambda part: self.network.encode(part, part.new_full((len(part),), t))[0])
        return torch.cat([ask(part) for part in x.split(BATCH)])

    def decoded(self, vectors: Tensor) -> Tensor:
        """The scale of vectors at the last step."""
        ask = _asked(self.model, lambda part: self.network.decode(part, part.new_ones(len(part))))
        said = [ask(part) for part in vectors.split(BATCH)]
        return to_scale(torch.cat(said), self.model.card["predicts"]["estimates"], self.gamma)


@dataclass(frozen=True, eq=False)
class Reverse:
    """A parallel network R, or the single head beside it, with the scale estimator that it is told by.

    Attributes
    ----------
    model : Trained
    estimator : Estimator
    variances : dict of int to Tensor, shape (1 + i, BINS)
        What :func:`fewsteps.experiments.pixel_measures.calibrate` found at those steps.
    common : dict of int to Tensor, shape (1 + i, BINS)
        The same for states under one schedule for all pixels.
    """

    model: Trained
    estimator: Estimator
    variances: dict[int, Tensor] = field(default_factory=dict)
    common: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.model.predicts != "parallel":
            raise CheckpointError(
                f"{self.model.name} is no parallel network: it is of the kind {self.model.predicts!r}."
            )

    @property
    def gamma(self) -> float:
        """Of the process that it was trained on."""
        return float(self.model.card["predicts"]["gamma"])

    @property
    def steps(self) -> int:
        """T."""
        return int(self.model.card["predicts"]["steps"])

    @property
    def reading(self) -> str:
        """What its noises are; "image" for the single head."""
        return self.model.card["predicts"]["reading"]

    def check(self, gamma: float, steps: int) -> None:
        """Whether it serves a process.

        Raises
        ------
        ParameterError
            If gamma or T is not what it was trained for.
        """
        if integer("T", steps, least=1) != self.steps:
            raise ParameterError(f"T must be {self.steps}, for which {self.model.name} was trained, not {steps!r}.")
        if gamma != self.gamma:
            raise ParameterError(
                f"gamma must be {self.gamma:g}, for which {self.model.name} was trained, not {gamma!r}."
            )

    def maps(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """The estimated scale, and what the network says, of states of step i.

        Returns
        -------
        (Tensor, Tensor)
            (B, C, H, W), and (B, n C, H, W).
        """
        scale = self.estimator.scale(x, i)
        t = i / self.steps
        ask = _asked(self.model, lambda part, told: self.model.network(part, part.new_full((len(part),), t), told))
        said = [ask(part, told) for part, told in zip(x.split(BATCH), scale.split(BATCH), strict=True)]
        return scale, torch.cat(said).float()

    def noises(self, x: Tensor, i: int | None = None) -> tuple[Tensor, Tensor]:
        """The estimated scale and Z^1 ... Z^i of states of step i; those that the single head's image stands for.

        Returns
        -------
        (Tensor, Tensor)
            (B, C, H, W), and (i, B, C, H, W).

        Notes
        -----
        Source: PX-6; PX-8, Algorithm 1, steps 1 and 5.
        """
        i = self.steps if i is None else i
        scale, said = self.maps(x, i)
        if self.reading == "image":
            return scale, samplers.noises_of(x, said.clamp(PIXEL_MIN, 1), self.gamma, i, self.steps)
        return scale, samplers.split_maps(said, self.steps, x.shape[1])[:i]

    def found(self, x: Tensor, i: int, common: Tensor | None = None) -> Tensor:
        """The image by the scale and by every noise alone, (1 + i, B, C, H, W), as `estimates` says.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            States of step i.
        i : int
        common : Tensor, shape (B, 1, 1, 1), optional
            Brightness of the one schedule by which they were made; default: every pixel has its own.

        Notes
        -----
        Source: PX-8.
        """
        scale, noises = self.noises(x, i)
        return samplers.estimates(x, scale, noises, self.gamma, steps=self.steps, reading=self.reading, common=common)

    def image(self, x: Tensor, t: float, common: Tensor | None = None) -> Tensor:
        """The image of states at a time i / T: what the single head says, or all estimates combined.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
        t : float
        common : Tensor, optional
            As for :meth:`found`.

        Raises
        ------
        ParameterError
            If the errors at that step are not known.

        Notes
        -----
        Source: PX-8.
        """
        i = round(t * self.steps)
        if self.reading == "image":
            return self.maps(x, i)[1].clamp(PIXEL_MIN, 1)
        variances = self.variances if common is None else self.common
        if i not in variances:
            known = ", ".join(map(str, sorted(variances))) or "none"
            raise ParameterError(f"i must be a step at which errors are known, {known}, not {i}: calibrate measures.")
        found = self.found(x, i, common)
        return samplers.combined(found, binned(found[0], shared(variances[i])))


def shared(table: Tensor) -> Tensor:
    """Variances (1 + n, ...) of a scale's estimate and n noises', the noises' made so large that all count as one.

    What is to be known of T noises is one noise, and what a network errs by in one of them it is likely to err by in
    all: together they get the weight of the best of them.

    Notes
    -----
    Source: PX-8.
    """
    noises = table[1:]
    return torch.cat((table[:1], noises * noises.amin(0) * (1 / noises).sum(0)))


def binned(brightness: Tensor, table: Tensor) -> Tensor:
    """Entries of a table (n, BINS) for pixels of a brightness in [0, 1], (n, ...)."""
    place = (brightness * BINS).long().clamp(0, BINS - 1)
    return table.to(brightness)[:, place]


def load(
    name: str,
    folder: Path = checkpoints.FOLDER,
    device: torch.device | str = "cpu",
    *,
    gamma: float | None = None,
    steps: int | None = None,
) -> Reverse:
    """A parallel network, or a single head, with its scale estimator, both on a device; all else is on the CPU.

    Parameters
    ----------
    name : str
    folder : Path
    device : optional
    gamma, steps : float, int, optional
        Of the process that it is wanted for; not asked for, those that it was trained for.

    Raises
    ------
    CheckpointError
        If it is none, or the estimator beside it is another than the one it was trained with.
    ParameterError
        If it was trained for another gamma or T than those that are asked for.
    """
    model = trained.load(name, folder, device)
    reverse = Reverse(model, Estimator(trained.estimator_of(model.card, folder, device)))
    reverse.check(reverse.gamma if gamma is None else gamma, reverse.steps if steps is None else steps)
    return reverse


def grid(n: int, steps: int) -> Tensor:
    """Times of n predictions, i / T: steps from T to 1 in even ratios, as far as whole steps go, and 0.

    Raises
    ------
    ParameterError
        If n is not from 1 to T.
    """
    integer("n", n, least=1, most=integer("steps", steps, least=1))
    places = [max(1, round(steps ** (1 - k / max(n - 1, 1)))) for k in range(n)] if n > 1 else [steps]
    for k in range(n - 2, -1, -1):  # rounding may have made two of them one
        places[k] = max(places[k], places[k + 1] + 1)
    return torch.tensor([*(p / steps for p in places), 0.0], dtype=torch.float64)


def begin(
    start: str, count: int, estimator: Estimator, laws: dict[str, Law], noise: starts.Noise, shape: tuple[int, int, int]
) -> Tensor:
    """States x_T to begin from, none of them made from an image.

    Parameters
    ----------
    start : {"normal", "pixels", "latent"}
        N(0, I); the mixture over the pixels of x_T; or scales decoded from the mixture over vectors, put under noise,
        at the price of half a network call.
    count : int
    estimator : Estimator
    laws : dict of str to Law
    noise : callable
    shape : (int, int, int)
        Of an image.

    Raises
    ------
    ParameterError
        If the start is unknown.

    Notes
    -----
    Source: PX-4, PX-8.
    """
    if starts.check(start) == "normal":
        return noise((count, *shape))
    drawn = laws[start].draw(count, noise)
    if start == "pixels":
        return starts.as_states(drawn, shape)
    x0 = samplers.scale_image(estimator.decoded(drawn), estimator.gamma)
    return diffuse(PixelAware(x0, estimator.gamma), x0, 1.0, noise(tuple(x0.shape)))


@dataclass(frozen=True)
class Form:
    """A way from x_T to an image.

    Attributes
    ----------
    label : str
    network : {"parallel", "single", "either"}
        Which is asked, as :func:`names` has them: the parallel network, one head that says the image, or the same head
        trained on states under either schedule.
    factor : str
        For Algorithm 1, as :func:`fewsteps.samplers.reverse_path` takes it; "" for another way.
    fresh : bool
        Whether Algorithm 1 adds noise.
    predictions : int
        How many times the network is asked; 0 for the scale alone.
    eta : float
        As for :func:`fewsteps.samplers.renoised`.
    common : bool
        Whether the new noise is that of one schedule for all pixels of an image, at its mean brightness, and not of
        every pixel's own: it does not show the network its last answer.
    """

    label: str
    network: str = "parallel"
    factor: str = ""
    fresh: bool = False
    predictions: int = 1
    eta: float = 1.0
    common: bool = False

    @property
    def nfe(self) -> int:
        """Network calls: of the estimator, and of the network that is told its scale."""
        return 2 * self.predictions if self.predictions else 1

    def times(self, steps: int) -> list[int]:
        """The steps at which the network is asked."""
        return [round(float(t) * steps) for t in grid(self.predictions, steps)[:-1]] if self.predictions else []

    def images(self, reverse: Reverse, x: Tensor, noise: starts.Noise) -> Tensor:
        """Images in [0, 1] from states x_T, which may not be finite where Algorithm 1 is followed.

        Parameters
        ----------
        reverse : Reverse
            The form's network.
        x : Tensor, shape (B, C, H, W)
        noise : callable

        Notes
        -----
        Source: PX-8, Algorithm 1.
        """
        if not self.predictions:
            return samplers.scale_image(reverse.estimator.scale(x, reverse.steps), reverse.gamma)
        if self.factor:
            scale, noises = reverse.noises(x)
            if self.factor == "ddim":  # which undoes one noise of all steps: the last, of which most can be known
                noises = noises[-1:].expand_as(noises)
            return samplers.reverse_path(x, scale, noises, factor=self.factor, noise=noise if self.fresh else None)[0]
        made: Tensor | None = None  # brightness of the schedule that the state has, where all pixels share it

        def image(x: Tensor, t: float) -> Tensor:
            nonlocal made
            said = reverse.image(x, t, made)
            made = brightness(said) if self.common else None
            return said

        way = samplers.renoised(
            image,
            x,
            grid(self.predictions, reverse.steps),
            gamma=reverse.gamma,
            noise=noise,
            eta=self.eta,
            calls=2,
            common=self.common,
        )
        return samplers.last(way)


FORMS: dict[str, Form] = {
    "scale": Form("the scale alone, decoded", predictions=0),
    "printed": Form("Algorithm 1 as printed", factor="printed", fresh=True),
    "printed, no noise": Form("Algorithm 1 as printed, without fresh noise", factor="printed"),
    "posterior": Form("Algorithm 1 with Eq. 4's factor", factor="posterior", fresh=True),
    "posterior, no noise": Form("Algorithm 1 with Eq. 4's factor, without fresh noise", factor="posterior"),
    "ddim": Form("one noise for all steps, DDIM's factor", factor="ddim"),
    "combined": Form("all noises and the scale, weighted by their errors"),
    **{
        f"combined x{n}": Form(f"all noises and the scale, {n} predictions, new noise between them", predictions=n)
        for n in (2, 4)
    },
    "combined x4, common": Form(
        "all noises and the scale, 4 predictions, new noise by one schedule for all pixels", predictions=4, common=True
    ),
    "single": Form("one head that says the image", network="single"),
    **{
        f"single x{n}": Form(f"one head, {n} predictions, new noise between them", network="single", predictions=n)
        for n in (2, 4, 10, 25)
    },
    "single x10, kept": Form("one head, 10 predictions, the noise kept", network="single", predictions=10, eta=0.0),
    **{
        f"single x{n}, common": Form(
            f"one head, {n} predictions, new noise by one schedule for all pixels",
            network="single",
            predictions=n,
            common=True,
        )
        for n in (4, 10)
    },
    **{
        f"either x{n}, {how}": Form(
            f"one head trained under either schedule, {n} predictions under one for all pixels, {words}",
            network="either",
            predictions=n,
            common=True,
            eta=eta,
        )
        for n in (4, 10)
        for how, words, eta in (("new", "new noise between them", 1.0), ("kept", "the noise kept", 0.0))
    },
}


def sampled(
    form: Form,
    reverse: Reverse,
    start: str,
    laws: dict[str, Law],
    count: int,
    seed: int,
) -> Tensor:
    """Images of one form, in parts of `BATCH`, not clamped.

    Parameters
    ----------
    form : Form
    reverse : Reverse
    start : str
    laws : dict of str to Law
    count, seed : int

    Returns
    -------
    Tensor, shape (count, C, H, W)

    Notes
    -----
    Source: PX-8, PX-9.
    """
    noise = samplers.white_noise(seed)
    made = []
    for part in range(math.ceil(integer("count", count, least=1) / BATCH)):
        some = min(BATCH, count - part * BATCH)
        x = begin(start, some, reverse.estimator, laws, noise, reverse.model.shape)
        made.append(form.images(reverse, x, noise))
    return torch.cat(made)


SHOWN = {
    "the scale alone": "scale",
    "Algorithm 1": "printed",
    "Eq. 4's factor, no fresh noise": "posterior, no noise",
    "one noise, DDIM's factor": "ddim",
    "one head": "single",
    "asked 10 times, one schedule": "single x10, common",
    "trained for it, noise kept": "either x10, kept",
}
"""The forms of :func:`pictures`: none needs errors that are known from training images."""


def pictures(data: str, start: str, count: int = 12, seed: int = 0, suffix: str = "") -> dict[str, Tensor]:
    """Images of several forms from one start and one noise, cut to [0, 1]: of those whose network is there.

    Parameters
    ----------
    data : str
    start : str
        As for :func:`begin`.
    count, seed : int
    suffix : str
        As for :func:`names`.

    Returns
    -------
    dict of str to Tensor, shape (count, C, H, W)

    Raises
    ------
    CheckpointError
        If a network is not there.
    DataError
        If no law of starts was fitted for its estimator.

    Notes
    -----
    Source: PX-8, PX-9.
    """
    asked = {FORMS[name].network for name in SHOWN.values()}
    reverse = {end: load(name) for end, name in there(data, suffix).items() if end in asked}
    if "parallel" not in reverse:
        raise CheckpointError(
            f"{names(data, suffix)['parallel']} is not among the checkpoints: fewsteps train makes it."
        )
    card = reverse["parallel"].estimator.model.card
    laws = starts.read(card["name"], card["weights"]["sha256"])
    made = {}
    with torch.no_grad():
        for called, name in SHOWN.items():
            form = FORMS[name]
            if form.network in reverse:
                made[called] = sampled(form, reverse[form.network], start, laws, count, seed).nan_to_num(0).clamp(0, 1)
    return made


ENDS = ("scale", "scale-log", "direct", "parallel", "single", "either")
"""What PixelAware's networks of a data set are, and how their names end."""


def names(data: str, suffix: str = "") -> dict[str, str]:
    """The checkpoints of a data set's PixelAware: what they are, and their names, there or not."""
    return {end: f"{data}-{end}{suffix}" for end in ENDS}


def there(data: str, suffix: str = "", folder: Path = checkpoints.FOLDER) -> dict[str, str]:
    """Those of :func:`names` that are shipped."""
    known = set(checkpoints.names(folder))
    return {end: name for end, name in names(data, suffix).items() if name in known}


def described(model: Trained) -> dict[str, Any]:
    """What a result records of a network."""
    card = model.card
    return {
        "checkpoint": card["name"],
        "sha256": card["weights"]["sha256"],
        "parameters": card["parameters"],
        "steps": card["training"]["steps"],
    }


def measured(**wanted: Any) -> list[dict[str, Any]]:
    """Rows of ``tools/measure_pixel.py``, those that say all of this; none before it has run.

    Parameters
    ----------
    **wanted
        As in ``kind="images", data="mnist", T=50``.

    Raises
    ------
    DataError
        If the table is damaged.
    """
    if not (results.FOLDER / "pixel_aware.json").exists():
        return []
    return [row for row in results.read("pixel_aware")["rows"] if wanted.items() <= row.items()]
