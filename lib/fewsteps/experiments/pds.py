"""Chapter 06's own questions: both directions of the operator, every site, the solenoidal term, the general theorem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from fewsteps import samplers
from fewsteps.denoisers import Gaussian
from fewsteps.experiments.few_step import pds_gains
from fewsteps.filters import IDENTITY, Filter, Solenoid
from fewsteps.schedules import VE, VPLinear, geometric
from fewsteps.shapes import Float
from fewsteps.theory import RingData, propagate, stationary_covariance, steps_for
from fewsteps.theory.linear import preconditioned

SITES: dict[str, tuple[str, ...]] = {
    "all three (as released)": ("prior", "predictor", "corrector"),
    "start alone": ("prior",),
    "predictor alone": ("predictor",),
    "corrector alone": ("corrector",),
}


def data_gains(data: RingData, size: int, alpha: float) -> Float[Tensor, " n"]:
    """PDS' mask from the data's own spectrum on rings: images in [0, 1], the mean grey of 1/2 at the zero frequency.

    Parameters
    ----------
    data : RingData
        In [-1, 1], the zero frequency first.
    size : int
    alpha : float

    Notes
    -----
    Source: PDS-5, Eq. 22.
    """
    # The mean grey has the most power of all, so its gain is 1.
    return torch.cat((torch.ones(1, dtype=torch.float64), pds_gains(data.variance[1:], size, alpha)))


def by_direction(data: RingData, size: int, steps: int, key: str, alphas: Sequence[float]) -> dict[str, float]:
    """W2 over the data's rms without the operator, with M and with its inverse, everywhere the sampler lets it act.

    Notes
    -----
    Source: PDS-2, Eq. 2 and 23; PDS-5.
    """
    found = {"none": data.distance(data.run(key, steps))[0]}
    for alpha in alphas:
        gains = data_gains(data, size, alpha)
        for name, mask in ((f"M, α = {alpha:g}", gains), (f"M⁻¹, α = {alpha:g}", 1 / gains)):
            found[name] = data.distance(data.run(key, steps, data.filter(mask, drift=True)))[0]
    return found


def scalar_like_pds(
    source: RingData, data: RingData, steps: int, key: str, gains: Sequence[float]
) -> tuple[float, float]:
    """One number in the operator's place, on noise and, squared, on the score: chosen on one law, judged on another.

    Returns
    -------
    (float, float)
        The number, and W2 over the data's rms.

    Notes
    -----
    Source: PDS-2; the baseline that a mask over frequencies has to beat.
    """

    def distance(judged: RingData, gain: float) -> float:
        mask = torch.full_like(judged.variance, gain)
        return judged.distance(judged.run(key, steps, judged.filter(mask, drift=True)))[0]

    best = min(gains, key=lambda gain: distance(source, gain))
    return best, distance(data, best)


def by_site(data: RingData, gains: Tensor, steps: int, key: str = "pc") -> dict[str, float]:
    """W2 over the data's rms with the operator at every site of the predictor-corrector, alone and together.

    Notes
    -----
    Source: PDS-3.
    """
    found = {"nowhere": data.distance(data.run(key, steps))[0]}
    for name, where in SITES.items():
        drift = where != ("prior",)  # at the start there is no score for M M^T to multiply
        found[name] = data.distance(data.run(key, steps, data.filter(gains, where=where, drift=drift)))[0]
    return found


def turned_law(omega: float, ratio: float, *, shift: int = 1, side: int = 8, moves: int | None = None) -> float:
    """Langevin moves on white Gaussian data with a solenoidal term: variance of the output over the right one, exact.

    Parameters
    ----------
    omega : float
    ratio : float
        Step over the variance of the noisy data.
    shift, side : int
    moves : int, optional
        Default: 20 relaxation times.

    Returns
    -------
    float
        Mean over the pixels.

    Notes
    -----
    Source: PDS-7, Eq. 23.
    """
    model = Gaussian(VE(0.1, 1.0), torch.ones(side, side, dtype=torch.float64))
    law = propagate(
        samplers.langevin, model, torch.tensor([1.0, 0.0]), eps=2 * ratio, denoise=False,
        per_level=math.ceil(20 / ratio) if moves is None else moves,
        filt=Filter(drift=True, solenoid=Solenoid(shift, omega)).at("corrector"),
    )  # fmt: skip
    return float(law.variance.mean()) / 2


def move_left(omega: float, *, size: int = 32, shift: int = 1, seed: int = 0, count: int = 64) -> float:
    """NCSN++'s corrector step with a solenoidal term over the step without: its norm counts what the term adds.

    The score is that of white noise, which it nearly is wherever noise rules.

    Notes
    -----
    Source: PDS-7; BASE-VE-PC (the step 2 (snr |z| / |score|)^2).
    """
    noise = samplers.white_noise(seed)
    z, score = noise((count, 1, size, size)), noise((count, 1, size, size))
    step = samplers.snr_step()
    turned = Filter(drift=True, solenoid=Solenoid(shift, omega)).precondition(score)
    return float(step(turned, z, 0) / step(score, z, 0))


def rotating(speed: float, m: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Stationary covariance of dx = (-1 + speed J) x dt + sqrt(2) dw without and with PDS' M = diag(m).

    J turns by a right angle. The noise is a multiple of the identity, so the condition of the paper's Theorem 2 holds.

    Notes
    -----
    Source: PDS-8, Theorem 2.
    """
    one = torch.eye(2, dtype=torch.float64)
    drift = speed * torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64) - one
    noise = math.sqrt(2) * one
    after = preconditioned(drift, noise, torch.diag(torch.tensor(m, dtype=torch.float64)))
    return stationary_covariance(drift, noise), stationary_covariance(*after)


def simulated(speed: float, m: Sequence[float], *, paths: int, seed: int = 0, step: float = 0.002) -> Tensor:
    """Points of the preconditioned rotating process at time 8, by explicit steps, shape (paths, 2).

    Notes
    -----
    Source: PDS-8, Theorem 2.
    """
    scale = torch.tensor(m, dtype=torch.float64)
    turn = speed * torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64) - torch.eye(2, dtype=torch.float64)
    noise = samplers.white_noise(seed, dtype=torch.float64)
    x = torch.zeros(paths, 2, dtype=torch.float64)
    for _ in range(round(8 / step)):
        x = x + step * scale**2 * (x @ turn.mT) + math.sqrt(2 * step) * scale * noise((paths, 2))
    return x


def on_ddpm(data: RingData, size: int, nfe: int, alpha: float = 5.0) -> dict[str, float]:
    """W2 over the data's rms of DDPM, and of DDPM with a Langevin move per step, at equal network calls.

    Parameters
    ----------
    data : RingData
    size, nfe : int
    alpha : float

    Notes
    -----
    Source: PDS-11, section 7.
    """
    gains = data_gains(data, size, alpha)
    schedule = data.schedule(VPLinear)
    model = Gaussian(schedule, data.variance[None])
    moved = partial(samplers.predictor_corrector, predictor="ddpm")

    def distance(filt: Filter) -> float:
        law = propagate(moved, model, geometric(schedule, steps_for("pc", nfe)), filt=filt, weights=data.weights)
        return data.distance(law)[0]

    at = {"where": ("corrector",), "drift": True}
    alone = propagate(samplers.ddpm, model, geometric(schedule, nfe), weights=data.weights)
    return {
        "DDPM alone": data.distance(alone)[0],
        "with moves": distance(IDENTITY),
        f"with moves, M, α = {alpha:g}": distance(data.filter(gains, **at)),
        f"with moves, M⁻¹, α = {alpha:g}": distance(data.filter(1 / gains, **at)),
    }
