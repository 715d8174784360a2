"""Chapter 09: a trained pair of PixelAware in one pass, in the page or in the kernel behind it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from fewsteps import checkpoints, export, samplers, trained
from fewsteps.errors import ParameterError
from fewsteps.losses import to_scale
from fewsteps.networks import ScaleVAE
from fewsteps.schedules import PIXEL_MIN, PixelAware, diffuse
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.course import Course, Message
from fewsteps.widgets.sampling import RUNTIME_BYTES, gaussians

COUNT = 8  # images
LAW = ("weights", "means", "spreads", "factors")


class OnePassLab(Course):
    """Images from one pass of a scale estimator and a parallel network, read in three ways.

    Parameters
    ----------
    network : str
        Checkpoint of the parallel network.
    law : mapping of str to Tensor
        The mixture over the estimator's vectors that starts are drawn from: ``weights`` (K,), ``means`` and ``spreads``
        (K, d), ``factors`` (K, r, d), as :meth:`fewsteps.experiments.starts.Law.tensors` gives them.
    folder : Path
        Of the checkpoints.
    seed : int
        Of starts and noise, from 0 to 99.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, or another estimator than the one it was trained with.
    ParameterError
        If the network says no noises, or the law is over other vectors.

    Notes
    -----
    Source: PX-8, Algorithm 1; PX-5.
    """

    _esm = bundle("one_pass_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    law = traitlets.Bytes().tag(sync=True)
    seed = traitlets.Int(3, min=0, max=99).tag(sync=True)

    def __init__(
        self, network: str, law: Mapping[str, Tensor], *, folder: Path = checkpoints.FOLDER, **traits: Any
    ) -> None:
        self._model = trained.load(network, folder)
        self._estimator = trained.estimator_of(self._model.card, folder)
        said, estimator = self._model.card["predicts"], self._estimator.network
        assert isinstance(estimator, ScaleVAE)
        if said["reading"] != "marginal":
            raise ParameterError(f"network must say the noises of all states, and {network} says {said['reading']!r}.")
        components, rank, latent = law["factors"].shape
        if latent != estimator.latent:
            raise ParameterError(f"law must be over vectors of {estimator.latent} numbers, not {latent}.")
        self._law = {key: law[key].half() for key in LAW}
        cards = (self._estimator.card, self._model.card)
        super().__init__(
            setting={
                "networks": [{"file": export.file_name(c), "bytes": c["weights"]["bytes"]} for c in cards],
                "shape": list(self._model.shape),
                "gamma": float(said["gamma"]),
                "steps": int(said["steps"]),
                "count": COUNT,
                "components": components,
                "latent": latent,
                "rank": rank,
                "runtime": RUNTIME_BYTES,
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
        gamma, steps, shape = self.setting["gamma"], self.setting["steps"], self._model.shape
        weights, means, spreads, factors = (self._law[key].double() for key in LAW)
        rank, latent = factors.shape[1:]
        wide = 2 + latent + rank
        numbers = torch.from_numpy(gaussians(COUNT * (wide + int(torch.tensor(shape).prod())), self.seed))
        own, noise = numbers[: COUNT * wide].reshape(COUNT, wide), numbers[COUNT * wide :].reshape(COUNT, *shape)
        uniform = (-own[:, :2].square().sum(1) / 2).exp()
        k = torch.searchsorted(weights.cumsum(0), uniform).clamp_max(len(weights) - 1)
        along = torch.einsum("nr,nrd->nd", own[:, 2 + latent :], factors[k])
        vectors = (means[k] + spreads[k] * own[:, 2 : 2 + latent] + along).float()
        times = torch.ones(COUNT)
        estimates, estimator = self._estimator.card["predicts"]["estimates"], self._estimator.network
        assert isinstance(estimator, ScaleVAE)
        with torch.inference_mode():
            x0 = samplers.scale_image(to_scale(estimator.decode(vectors, times), estimates, gamma), gamma).double()
            x = diffuse(PixelAware(x0, gamma), x0, 1.0, noise).float()
            scale = to_scale(estimator(x, times)[0], estimates, gamma)
            noises = samplers.split_maps(self._model.network(x, times, scale), steps, shape[0])
            x, scale, noises = x.double(), scale.double(), noises.double()
            found = samplers.estimates(x, scale, noises[-1:].expand_as(noises), gamma, reading="last")
            back = samplers.reverse_path(x, scale, noises, factor="printed")[0]
        return torch.stack((found[0], back, found[-1].clamp(PIXEL_MIN, 1)))

    def _messages(self) -> Iterator[Message]:
        begin = time.perf_counter()
        made = self.images().float()
        yield {"i": 1, "ms": 1000 * (time.perf_counter() - begin)}, (made,)
