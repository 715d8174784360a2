"""Images from denoising diffusion GANs: everything that decides them is an input, so that one can be varied alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fewsteps import samplers
from fewsteps.denoisers import FromEDM, FromGenerator
from fewsteps.errors import CheckpointError, ParameterError, ShapeError
from fewsteps.filters import IDENTITY, Filter
from fewsteps.parameters import integer
from fewsteps.samplers.walk import Noise
from fewsteps.schedules import VPLinear, karras
from fewsteps.shapes import require_vectors
from fewsteps.trained import Trained

KINDS = ("z_T", "z", "x_T")
"""What a progressive GAN's image depends on as Fig. 5 has it."""
POSTERIOR = "posterior"
"""The fourth input, which the paper does not name: the noise of q(x_{t-1} given x_t, x0)."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that decides images.

    Attributes
    ----------
    x_T : Tensor, shape (B, C, H, W)
        The state that sampling begins with.
    z_T : Tensor, shape (B, latent), or None
        Semantic vectors.
    z : Tensor, shape (T, B, latent)
        Latent noise of every step; that of steps which are told z_T does nothing.
    noise : Tensor, shape (T - 1, B, C, H, W)
        Of the posteriors.
    """

    x_T: Tensor
    z_T: Tensor | None
    z: Tensor
    noise: Tensor

    def __len__(self) -> int:
        return len(self.x_T)

    def part(self, rows: slice | Tensor) -> Inputs:
        """Those of some images."""
        z_sem = None if self.z_T is None else self.z_T[rows]
        return Inputs(self.x_T[rows], z_sem, self.z[:, rows], self.noise[:, rows])

    def given(self, kind: str, value: Tensor) -> Inputs:
        """The same with another z_T, z, x_T or noise of the posteriors.

        Raises
        ------
        ParameterError
            If the kind is unknown, or there is no semantic vector.
        """
        self.value(kind)
        return replace(self, **{"noise" if kind == POSTERIOR else kind: value})

    def value(self, kind: str) -> Tensor:
        """z_T, z, x_T or "posterior", the noise of the posteriors.

        Raises
        ------
        ParameterError
            If the kind is unknown, or there is no semantic vector.
        """
        found = {"z_T": self.z_T, "z": self.z, "x_T": self.x_T, POSTERIOR: self.noise}.get(kind)
        if found is None:
            known = *(KINDS if self.z_T is not None else KINDS[1:]), POSTERIOR
            raise ParameterError(f"kind must be one of {', '.join(known)} for these inputs, not {kind!r}.")
        return found


def prior_calls(model: Trained, nfe: int) -> int:
    """Network calls that are left for the prior of semantic vectors when the generator has had its T.

    Raises
    ------
    ParameterError
        If there are fewer than T, or some left over and nothing to spend them on.
    CheckpointError
        If the prior that they would go to is not there.

    Notes
    -----
    Source: PD-6: the paper's NFE leaves these calls out.
    """
    steps = model.steps.steps
    semantic = model.generator.encoder is not None
    if nfe < steps or (nfe > steps and not semantic):
        least = f"at least {steps}" if semantic else str(steps)
        raise ParameterError(f"nfe must be {least} for {model.name}, which was trained with T = {steps}, not {nfe}.")
    if nfe > steps and model.prior is None:
        raise CheckpointError(
            f"{model.name} has no prior beside it: fewsteps train {model.name}-prior makes one, and nfe = {steps} "
            "draws Gaussian vectors."
        )
    return nfe - steps


def semantic_vectors(model: Trained, count: int, noise: Noise, *, calls: int = 0) -> Tensor:
    """z_T of images that nobody has seen, (count, latent).

    Parameters
    ----------
    model : Trained
    count : int
    noise : callable
    calls : int
        Of the prior, by DPM-Solver++(2M), one a step; 0 draws from the Gaussian with the encoder's moments.

    Raises
    ------
    ParameterError, CheckpointError
        If there is no encoder, or no prior and calls for it.

    Notes
    -----
    Source: PD-6, BASE-DIFFAE.
    """
    encoder = model.encoder
    if not integer("calls", calls, least=0):
        return encoder.gaussian(noise((count, encoder.latent)))
    if model.prior is None:
        raise CheckpointError(f"{model.name} has no prior beside it: fewsteps train {model.name}-prior makes one.")
    said, schedule = model.prior.card["predicts"], VPLinear()
    denoiser = FromEDM(model.prior.network, schedule, said["mean"], said["std"])
    run = samplers.dpmpp_2m(denoiser, (count, encoder.latent, 1, 1), karras(schedule, calls), noise=noise)
    return encoder.denormalise(samplers.last(run)[:, :, 0, 0])


def drawn(model: Trained, count: int, noise: Noise, *, calls: int = 0) -> Inputs:
    """Inputs of `count` images at random; for the prior see :func:`semantic_vectors`."""
    steps, latent = model.steps, model.generator.latent
    z_sem = None if model.generator.encoder is None else semantic_vectors(model, count, noise, calls=calls)
    x = float(steps.sigma(steps.t_max)) * noise((count, *model.shape))
    return Inputs(x, z_sem, noise((steps.steps, count, latent)), noise((steps.steps - 1, count, *model.shape)))


def seen(model: Trained, images: Tensor, noise: Noise) -> Inputs:
    """Inputs that show given images again: their semantic vectors, all else at random.

    Parameters
    ----------
    model : Trained
    images : Tensor, shape (B, C, H, W)
        In [0, 1].

    Raises
    ------
    ParameterError
        If there is no encoder.
    ShapeError
        If the images have another size than it was trained on.
    """
    z_sem = model.encoder(2 * images - 1)
    return replace(drawn(model, len(images), noise), z_T=z_sem)


def generate(model: Trained, inputs: Inputs, *, batch: int = 256, filt: Filter = IDENTITY) -> Tensor:
    """Images in [0, 1] from their inputs, through the library's own sampler.

    Parameters
    ----------
    model : Trained
    inputs : Inputs
    batch : int
        Images per network call.
    filt : Filter
        On the noise of the posteriors.

    Returns
    -------
    Tensor, shape (B, C, H, W)

    Raises
    ------
    ShapeError
        If an input has another shape than the network was made for, or is for another T.

    Notes
    -----
    Source: PD-2, Eq. 7 and 8.
    """
    denoiser = model.denoiser()
    assert isinstance(denoiser, FromGenerator)
    steps = denoiser.schedule.steps
    times = torch.arange(steps, -1, -1, dtype=torch.float64)
    if len(inputs.z) != steps or tuple(inputs.noise.shape) != (steps - 1, *inputs.x_T.shape):
        wanted = (steps - 1, *inputs.x_T.shape)
        raise ShapeError(
            f"inputs must be for T = {steps}, which {model.name} was trained with: z of {steps} steps and noise of "
            f"shape {wanted}, not of {len(inputs.z)} and {tuple(inputs.noise.shape)}."
        )
    for z in inputs.z:
        require_vectors("z", z, len(inputs), denoiser.latent)
    made = []
    for rows in torch.arange(len(inputs), device=inputs.x_T.device).split(integer("batch", batch, least=1)):
        part = inputs.part(rows)
        tape = _tape(part)
        run = samplers.ddgan(
            denoiser, part.x_T, times, noise=lambda shape, tape=tape: next(tape), filt=filt, cond=part.z_T
        )
        made.append(model.images(samplers.last(run), denoiser.schedule))
    return torch.cat(made)


def _tape(inputs: Inputs) -> Iterator[Tensor]:
    """The noises of inputs in the order in which the sampler asks for them."""
    for step, z in enumerate(inputs.z):
        yield z
        if step < len(inputs.noise):
            yield inputs.noise[step]
