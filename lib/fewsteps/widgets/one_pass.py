"""Chapter 09: a trained pair of PixelAware in one pass, in the page or in the kernel behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
import traitlets
from torch import Tensor

from fewsteps import export, samplers, trained
from fewsteps.errors import ParameterError
from fewsteps.schedules import PIXEL_MIN, PixelAware, diffuse
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.course import Course, Message
from fewsteps.widgets.sampling import RUNTIME_BYTES, gaussians

COUNT = 8  # images
MOST_BYTES = 8 * 2**20  # of the pair's file, which a page offers beside all else that it fetches
LAW = ("weights", "means", "spreads", "factors")


class Estimator(Protocol):
    """A scale estimator: :class:`fewsteps.experiments.pixel_aware.Estimator`."""

    model: trained.Trained

    def decoded(self, vectors: Tensor) -> Tensor:
        """The scale of vectors at the last step."""
        ...


class Reverse(Protocol):
    """A pair that makes one pass: :class:`fewsteps.experiments.pixel_aware.Reverse`."""

    model: trained.Trained
    estimator: Estimator

    def noises(self, x: Tensor, i: int | None = None) -> tuple[Tensor, Tensor]:
        """The estimated scale and Z^1 to Z^T of states of step T."""
        ...


class OnePassLab(Course):
    """Images from one pass of a scale estimator and a parallel network, read in three ways.

    Parameters
    ----------
    reverse : Reverse
        The parallel network with its estimator, as :func:`fewsteps.experiments.pixel_aware.load` gives them.
    law : mapping of str to Tensor
        The mixture over the estimator's vectors that starts are drawn from: ``weights`` (K,), ``means`` and ``spreads``
        (K, d), ``factors`` (K, r, d), as :meth:`fewsteps.experiments.starts.Law.tensors` gives them.
    seed : int
        Of starts and noise, from 0 to 99.

    Raises
    ------
    ParameterError
        If the network says no noises, its file would be larger than 8 MiB, or the law is over other vectors.

    Notes
    -----
    Source: PX-8, Algorithm 1; PX-5.
    """

    _esm = bundle("one_pass_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    law = traitlets.Bytes().tag(sync=True)
    seed = traitlets.Int(3, min=0, max=99).tag(sync=True)

    def __init__(self, reverse: Any, law: Mapping[str, Tensor], **traits: Any) -> None:
        self._reverse: Reverse = reverse
        card, known = reverse.model.card, reverse.estimator.model.card
        said, name = card["predicts"], reverse.model.name
        if said["reading"] != "marginal":
            raise ParameterError(f"reverse must say the noises of all states, and {name} says {said['reading']!r}.")
        # The pair's file holds the estimator as well; the other file is the decoder, a part of it.
        long = card["weights"]["bytes"] + known["weights"]["bytes"]
        if long > MOST_BYTES:
            raise ParameterError(
                f"the file of {name} must take at most {MOST_BYTES / 2**20:g} MiB, for a browser, and it takes about "
                f"{long / 2**20:.1f}: train a smaller one."
            )
        components, rank, latent = law["factors"].shape
        wanted = known["network"]["latent"]
        if latent != wanted:
            raise ParameterError(f"law must be over vectors of {wanted} numbers, not {latent}.")
        self._law = {key: law[key].half() for key in LAW}
        super().__init__(
            setting={
                "files": [export.file_name(one) for one in (known, card)],
                "megabytes": round((long + known["weights"]["bytes"] + RUNTIME_BYTES) / 1e6),
                "shape": list(reverse.model.shape),
                "gamma": float(said["gamma"]),
                "steps": int(said["steps"]),
                "count": COUNT,
                "components": components,
                "latent": latent,
                "rank": rank,
            },
            law=np.concatenate([v.numpy().astype("<f2").ravel() for v in self._law.values()]).tobytes(),
            **traits,
        )
        self.on_msg(self._hear)

    def images(self) -> Tensor:
        """By the scale alone, by Algorithm 1 as printed without fresh noise, and by the last noise and Eq. 9.

        Returns
        -------
        Tensor, shape (3, 8, C, H, W)

        Notes
        -----
        Source: PX-8, Algorithm 1.
        """
        return self._made(self.seed)

    def _made(self, seed: int) -> Tensor:
        gamma, shape = self.setting["gamma"], self._reverse.model.shape
        weights, means, spreads, factors = (self._law[key].double() for key in LAW)
        rank, latent = factors.shape[1:]
        wide = 2 + latent + rank
        numbers = torch.from_numpy(gaussians(COUNT * (wide + int(torch.tensor(shape).prod())), seed))
        own, noise = numbers[: COUNT * wide].reshape(COUNT, wide), numbers[COUNT * wide :].reshape(COUNT, *shape)
        uniform = (-own[:, :2].square().sum(1) / 2).exp()
        k = torch.searchsorted(weights.cumsum(0), uniform).clamp_max(len(weights) - 1)
        along = torch.einsum("nr,nrd->nd", own[:, 2 + latent :], factors[k])
        vectors = (means[k] + spreads[k] * own[:, 2 : 2 + latent] + along).float()
        x0 = samplers.scale_image(self._reverse.estimator.decoded(vectors), gamma).double()
        x = diffuse(PixelAware(x0, gamma), x0, 1.0, noise).float()
        scale, noises = (part.double() for part in self._reverse.noises(x))
        # Of one noise that is the last one's, Eq. 9 is read at once; T does not enter.
        by_scale, by_last = samplers.estimates(x.double(), scale, noises[-1:], gamma)
        back = samplers.reverse_path(x.double(), scale, noises, factor="printed")[0]
        return torch.stack((by_scale, back, by_last.clamp(PIXEL_MIN, 1)))

    def _messages(self) -> Iterator[Message]:
        return (self._timed(seed) for seed in [self.seed])  # the seed is read now, and used in the thread of the run

    def _timed(self, seed: int) -> Message:
        begin = time.perf_counter()
        made = self._made(seed).float()
        return {"i": 1, "ms": 1000 * (time.perf_counter() - begin)}, (made,)
