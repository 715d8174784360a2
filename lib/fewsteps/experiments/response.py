"""What a trained denoiser does to every frequency, beside the best filter for the same images.

For the exact posterior mean, E[D conj(x_t)] = E[x0 conj(x_t)] at every frequency (the error of a conditional mean is
uncorrelated with everything it was computed from), so the *linear part* of a perfect network is the Wiener filter of
its data, however nonlinear the network is. What recognising images buys shows in the error that is left, and nowhere
in that linear part: the two are measured apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fewsteps import spectra, transforms
from fewsteps.denoisers import Denoiser
from fewsteps.errors import ShapeError
from fewsteps.parameters import integer
from fewsteps.samplers.walk import Noise
from fewsteps.schedules import diffuse
from fewsteps.shapes import Float


@dataclass(frozen=True)
class Response:
    """A denoiser at one noise level, by ring of DCT frequencies; means over images, channels and the ring.

    Attributes
    ----------
    frequency : Tensor
        Cycles per pixel, the zero frequency left out.
    gain, wiener : Tensor
        Linear part of the denoiser, alpha times its response, and the same of the Wiener filter: 0 keeps nothing of
        the noisy image, 1 everything.
    error, wiener_error : Tensor
        What each leaves of the power of the image, 1 for an estimate that says nothing.
    total, wiener_total : float
        The same over all frequencies together.
    """

    frequency: Tensor
    gain: Tensor
    wiener: Tensor
    error: Tensor
    wiener_error: Tensor
    total: float
    wiener_total: float


@torch.no_grad()
def response(
    model: Denoiser, x0: Float[Tensor, "N C H W"], t: float, *, noise: Noise, batch: int = 256, draws: int = 1
) -> Response:
    """Measure a denoiser on clean images at one noise level.

    Parameters
    ----------
    model : Denoiser
    x0 : Tensor, shape (N, C, H, W)
        Clean images in the units of the model's schedule; better not those that it was trained on.
    t : float
        The time of the schedule.
    noise : callable
    batch : int
        Images per network call.
    draws : int
        Noises per image.

    Returns
    -------
    Response

    Raises
    ------
    ShapeError
        If there are fewer than two images.
    ParameterError
        If `draws` or `batch` is below 1.

    Notes
    -----
    Source: SD-1, Eq. 6 and Fig. 2 (the trained network that the paper's filter stands for).
    """
    if x0.ndim != 4 or len(x0) < 2:
        raise ShapeError(f"x0 must hold at least two images, (N, C, H, W), not {tuple(x0.shape)}.")
    integer("draws", draws, least=1)
    integer("batch", batch, least=1)
    alpha, sigma = float(model.schedule.alpha(t)), float(model.schedule.sigma(t))
    middle = x0.double().mean(0)
    signal = torch.zeros(x0.shape[1:], dtype=torch.float64, device=x0.device)
    cross, power, error = (torch.zeros_like(signal) for _ in range(3))
    for _ in range(draws):
        for clean in x0.split(batch):
            x = diffuse(model.schedule, clean, t, noise(tuple(clean.shape)))
            estimate = transforms.dct2(model.mean(x, t).double() - middle)
            seen = transforms.dct2(x.double() - alpha * middle)
            truth = transforms.dct2(clean.double() - middle)
            signal += truth.square().sum(0)
            power += seen.square().sum(0)
            cross += (estimate * seen).sum(0)
            error += (estimate - truth).square().sum(0)
    count = draws * len(x0)

    def rings(value: Tensor) -> Tensor:
        return spectra.radial_mean(value.mean(0) / count, "dct").power[1:]

    frequency = spectra.radial_mean(signal.mean(0), "dct").frequency[1:]
    spectrum = rings(signal)
    # The Wiener filter of every coefficient, averaged as the network's is: with the power of what comes in.
    expected = alpha**2 * signal / count + sigma**2
    keeps = alpha**2 * signal / count / expected
    filtered = signal * sigma**2 / expected
    return Response(
        frequency=frequency,
        gain=alpha * rings(cross) / rings(power),
        wiener=rings(keeps * power) / rings(power),
        error=rings(error) / spectrum,
        wiener_error=rings(filtered) / spectrum,
        total=float(error.sum() / signal.sum()),
        wiener_total=float(filtered.sum() / signal.sum()),
    )
