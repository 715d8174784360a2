"""Chapter 01 and the gallery: trained networks denoising, step by step, under the reader's hand."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import traitlets
from PIL import Image
from torch import Tensor

from fewsteps import checkpoints, figures, samplers, schedules, spectra, trained
from fewsteps.errors import ParameterError
from fewsteps.parameters import integer
from fewsteps.schedules import VPLinear
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.figure import Figure

COUNT = 6
NOISIEST = 30.0  # noise over signal at the first step


class StepsLab(Figure):
    """What shipped networks hold in hand and predict at every step of DPM-Solver++(2M).

    Parameters
    ----------
    networks : sequence of str, optional
        Checkpoints under EDM's preconditioning or that predict noise; default all that are shipped.
    steps : int
        Of the sampler, from 2 to 60.
    seed : int
    step, network
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Raises
    ------
    ParameterError
        If there is no network, or a number is out of range.
    CheckpointError
        If there is no such checkpoint.

    Notes
    -----
    Source: SD-1, Fig. 2 (the prediction of x0 by step of a trained network).
    """

    _esm = bundle("steps_lab.js")
    _css = HERE / "lab.css"
    runs = traitlets.Dict().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    network = traitlets.Unicode().tag(sync=True)
    step = traitlets.Int(8, min=1).tag(sync=True)

    def __init__(self, networks: Sequence[str] | None = None, *, steps: int = 24, seed: int = 0, **traits: Any) -> None:
        networks = shipped() if networks is None else list(networks)
        if not networks:
            raise ParameterError("networks must name at least one checkpoint.")
        integer("steps", steps, least=2, most=60)
        integer("step", traits.get("step", 1), least=1, most=steps)
        made = {name: _run(name, checkpoints.card(name)["weights"]["sha256"], steps, seed) for name in networks}
        traits = {"network": networks[0], "step": min(8, steps)} | traits
        super().__init__(names=networks, runs=made, **traits)

    @traitlets.validate("network")
    def _network_is_here(self, proposal: Any) -> str:
        if self.names and proposal.value not in self.names:
            raise ParameterError(f"network must be one of {', '.join(self.names)}, not {proposal.value!r}.")
        return proposal.value

    def spectrum(self) -> tuple[list[float], list[float]]:
        """Frequencies in cycles per pixel, and the power of the prediction over that of the finished images there."""
        run = self.runs[self.network]
        return run["frequency"], run["share"][self.step - 1]


def shipped() -> list[str]:
    """Every shipped network that this sampler can run on, the smallest images last."""
    cards = {name: checkpoints.card(name) for name in checkpoints.names()}
    cards = {name: card for name, card in cards.items() if "beside" not in card}  # they are shown beside their teacher
    shown = {name: card for name, card in cards.items() if "latent" not in card["data"]}  # its steps are no images
    names = [name for name, card in shown.items() if card["predicts"]["kind"] in ("edm", "eps")]
    return sorted(names, key=lambda name: (cards[name]["data"]["size"] < 32, cards[name]["network"]["channels"], name))


@lru_cache(maxsize=16)
def _run(name: str, weights: str, steps: int, seed: int) -> dict[str, Any]:
    """One network's run as the page draws it: pictures as WebP, spectra as numbers; kept for these weights."""
    model = trained.load(name)
    # Without a class, and only as far up as there is still something to see.
    schedule = VPLinear(t_max=float(VPLinear().time(NOISIEST)))
    with torch.inference_mode():
        noise = samplers.white_noise(seed)
        start = float(schedule.sigma(schedule.t_max)) * noise((COUNT, *model.shape))
        walk = samplers.dpmpp_2m(model.denoiser(schedule), start, schedules.karras(schedule, steps), noise=noise)
        taken = list(walk)
    times = schedules.karras(schedule, steps).tolist()
    states = [start, *(step.x for step in taken[:-1])]
    finished = _rings(trained.to_images(taken[-1].x, schedule))
    predicted = [trained.to_images(step.x0_hat, schedule) for step in taken]
    shares = [(_rings(images) / finished).clamp(1e-6, 1e3) for images in predicted]
    return {
        "title": model.card["title"],
        "noisy": [_picture(_shown(x)) for x in states],
        "clean": [_picture(images) for images in predicted],
        "level": [float(f"{float(schedule.sigma(t) / schedule.alpha(t)):.4g}") for t in times[:-1]],
        "frequency": [round(float(f), 5) for f in _frequency(model.shape[-1])],
        "share": [[float(f"{float(v):.4g}") for v in share] for share in shares],
    }


def _shown(x: Tensor) -> Tensor:
    """A noisy state in [0, 1]: scaled so that three standard deviations of it fit."""
    return (x / 6 + 0.5).clamp(0, 1)


def _rings(images: Tensor) -> Tensor:
    return spectra.radial_power(images.double())[1:]


def _frequency(size: int) -> Tensor:
    return spectra.radial_mean(torch.zeros(size, size, dtype=torch.float64), "dct").frequency[1:]


def _picture(images: Tensor) -> str:
    """A row of images as a WebP in a data address: a noisy state does not compress without loss."""
    buffer = io.BytesIO()
    Image.fromarray(figures.tiled(images, columns=len(images), gap=0)).save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
