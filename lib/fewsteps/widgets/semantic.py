"""Chapter 10: every input of a two-step generator on a slider of its own, between two sets of inputs."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import traitlets
from torch import Tensor

from fewsteps import checkpoints, export, samplers, trained
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.parameters import integer, number
from fewsteps.schedules import stepped
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.course import Course, Message, without_gradients
from fewsteps.widgets.sampling import RUNTIME_BYTES, SIZE, _one_of, gaussians

__all__ = ["SemanticLab"]

COUNT = 6  # images
OTHER = 50  # how far the seed of the second set is from that of the first
REACH = 1.0
MIXED = ("semantic", "start", "latent", "posterior")


class SemanticLab(Course):
    """A denoising diffusion GAN whose inputs are moved from one set, A, to another, B: what each of them decides.

    Shown are the images that the first step draws, where a progressive GAN decides what is on them, and the finished
    ones. Noise is drawn in the page; semantic vectors are given, since their prior or their encoder is not there.

    Parameters
    ----------
    network : str
        A checkpoint that is a denoising diffusion GAN of at most 64 x 64 pixels.
    ends : (Tensor, Tensor), optional
        Semantic vectors of A and of B, (6, latent) each; needed where the network has an encoder.
    directions : mapping of str to Tensor, optional
        By name, what is added to z_T for a reach of 1, (latent,).
    folder : Path
        Of the checkpoint.
    semantic, start, latent, posterior : float
        Share of the way from A to B, 0 to 1, of z_T, x_T, z and the noise of the posteriors.
    direction : str
        "none" or one of the directions.
    reach : float
        From -1 to 1, in units of the typical length of a normalised vector.
    seed : int
        From 0 to 49, of A's noise.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint.
    ParameterError
        If the network is of another kind or size, vectors are missing, or a number is out of range.
    ShapeError
        If vectors have another shape.

    Notes
    -----
    Source: PD-7, Fig. 3 and 5; PD-2.
    """

    _esm = bundle("semantic_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    semantic = traitlets.Any(0.0).tag(sync=True)
    start = traitlets.Any(0.0).tag(sync=True)
    latent = traitlets.Any(0.0).tag(sync=True)
    posterior = traitlets.Any(0.0).tag(sync=True)
    direction = traitlets.Any("none").tag(sync=True)
    reach = traitlets.Any(0.3).tag(sync=True)
    seed = traitlets.Any(3).tag(sync=True)

    def __init__(
        self,
        network: str,
        ends: tuple[Tensor, Tensor] | None = None,
        directions: Mapping[str, Tensor] | None = None,
        folder: Path = checkpoints.FOLDER,
        **traits: Any,
    ) -> None:
        card = export.require_gan(checkpoints.card(network, folder))
        size, channels, width = card["data"]["size"], card["network"]["channels"], card["network"]["latent"]
        said = card["predicts"]
        if size > SIZE:
            raise ParameterError(f"network must make images of at most {SIZE} pixels, and {network} makes {size}.")
        told = said["semantic"] != "never"
        if told != (ends is not None):
            raise ParameterError(
                f"ends must hold the semantic vectors of A and of B for {network}, which has an encoder."
                if told
                else f"ends must be left out for {network}, which has no encoder."
            )
        named = dict(directions or {})
        if named and not told:
            raise ParameterError(f"directions must be left out for {network}, which has no encoder.")
        for called, vectors, shape in [
            *(("ends", vectors, (COUNT, width)) for vectors in ends or ()),
            *((f"directions[{name!r}]", vector, (width,)) for name, vector in named.items()),
        ]:
            if tuple(vectors.shape) != shape:
                raise ShapeError(f"{called} must have the shape {shape} for {network}, not {tuple(vectors.shape)}.")
        self._checks: dict[str, Callable[[Any], Any]] = {
            **{name: lambda value, name=name: number(name, value, least=0, most=1) for name in MIXED},
            "direction": lambda value: _one_of("direction", value, ("none", *named)),
            "reach": lambda value: number("reach", value, least=-REACH, most=REACH),
            "seed": lambda value: integer("seed", value, least=0, most=OTHER - 1),
        }
        self._model = trained.load(network, folder)
        process = stepped(said["steps"], said["schedule"])
        super().__init__(
            setting={
                "network": network,
                "file": export.file_name(card),
                "megabytes": round((card["weights"]["bytes"] + RUNTIME_BYTES) / 1e6),
                "shape": [channels, size, size],
                "latent": width,
                "steps": said["steps"],
                "semantic": said["semantic"],
                "sigma": float(process.sigma(process.t_max)),
                "count": COUNT,
                "ends": None if ends is None else [_digits(vectors) for vectors in ends],
                "directions": {name: _digits(vector) for name, vector in named.items()},
            },
            **traits,
        )
        # What the controls describe as the page opens, so that there is something to see before anything is fetched.
        walked = list(self.walk())
        shown = {"first": _bytes(walked[0].x0_hat), "last": _bytes(walked[-1].x0_hat)}
        self.setting = {**self.setting, "shown": shown}
        self.on_msg(self._hear)

    @traitlets.validate(*MIXED, "direction", "reach", "seed")
    def _within_range(self, proposal: Any) -> Any:
        return self._checks[proposal.trait.name](proposal.value)

    def inputs(self) -> dict[str, Tensor]:
        """What the controls describe now.

        Returns
        -------
        dict
            "semantic" (6, latent), where there is an encoder; "start" (6, C, H, W); "latent" (T, 6, latent);
            "posterior" (T - 1, 6, C, H, W).

        Notes
        -----
        Source: PD-7: semantic vectors and latent noise go in straight lines, states and posterior noise along arcs.
        """
        said = self.setting
        steps, width, shape = said["steps"], said["latent"], said["shape"]
        shapes = {"start": (COUNT, *shape), "latent": (steps, COUNT, width), "posterior": (steps - 1, COUNT, *shape)}
        sizes = [int(torch.tensor(each).prod()) for each in shapes.values()]
        sets = []
        for seed in (self.seed, self.seed + OTHER):
            white = torch.from_numpy(gaussians(sum(sizes), seed)).split(sizes)
            parts = {name: part.reshape(each) for part, (name, each) in zip(white, shapes.items(), strict=True)}
            sets.append(parts | {"start": said["sigma"] * parts["start"]})
        a, b = sets
        found = {
            "start": samplers.slerp(a["start"], b["start"], self.start),
            "latent": (1 - self.latent) * a["latent"] + self.latent * b["latent"],
            "posterior": samplers.slerp(a["posterior"], b["posterior"], self.posterior, axes=2),
        }
        if said["ends"] is not None:
            first, second = (torch.tensor(end).reshape(COUNT, width) for end in said["ends"])
            z = (1 - self.semantic) * first + self.semantic * second
            if self.direction != "none":
                z = z + self.reach * torch.tensor(said["directions"][self.direction])
            found["semantic"] = z
        return {name: value.float() for name, value in found.items()}

    def walk(self) -> Iterator[samplers.Step]:
        """The run that the controls describe now, by the library's own sampler; images are in [-1, 1].

        Notes
        -----
        Source: PD-2, Eq. 7 and 8.
        """
        inputs, steps = self.inputs(), self.setting["steps"]
        tape = [part for k in range(steps) for part in (inputs["latent"][k], *inputs["posterior"][k : k + 1])]
        times = torch.arange(steps, -1, -1, dtype=torch.float64)
        run = samplers.ddgan(
            self._model.denoiser(), inputs["start"], times, noise=lambda _: tape.pop(0), cond=inputs.get("semantic")
        )
        return without_gradients(run)

    def _messages(self) -> Iterator[Message]:
        return (({"i": s.i, "level": s.t}, (s.x, (s.x0_hat + 1) / 2)) for s in self.walk())


def _bytes(images: Tensor) -> str:
    """Images in [-1, 1] as text for the page, a byte a pixel."""
    return b64encode(((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy().tobytes()).decode()


def _digits(vectors: Tensor) -> list[float]:
    """Plain numbers for the page, which keeps them: six digits are more than a float of half precision has."""
    return [float(f"{value:.6g}") for value in vectors.flatten().tolist()]
