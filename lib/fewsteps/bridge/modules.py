"""Any torch module as the denoiser that samplers ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from fewsteps.denoisers import Denoiser, FromEps, FromScore, FromV, FromX0
from fewsteps.errors import ParameterError, ShapeError
from fewsteps.schedules import Schedule

Predicts = Literal["eps", "x0", "v", "score"]
Time = Literal["time", "index", "sigma"]
ADAPTERS = {"eps": FromEps, "x0": FromX0, "v": FromV, "score": FromScore}


def denoiser(
    module: Callable[..., Any],
    predicts: Predicts | str,
    schedule: Schedule,
    *,
    time: Time | Callable[[Tensor], Tensor] | str = "time",
) -> Denoiser:
    """A network of your own as every sampler of this library takes it.

    Parameters
    ----------
    module : nn.Module or callable
        Of (x, times) or (x, times, cond), with x of shape (B, C, H, W) and times of shape (B,). It returns its
        prediction, or an object that holds it as ``sample``, or a tuple that begins with it, as diffusers' models do.
        Of twice as many channels, as networks with a learned variance return them, the first half counts.
    predicts : {"eps", "x0", "v", "score"}
        The noise, the clean image, alpha eps - sigma x0, or the gradient of log p_t.
    schedule : Schedule
        How its noisy images came about: ``Discrete.linear()`` for DDPM's, ``VE(sigma_min, sigma_max)`` for NCSN++'s.
    time : {"time", "index", "sigma"} or callable
        What it is told: the schedule's time; that of a discrete schedule counted from 0; the noise level
        sigma / alpha; or a function of the times.

    Returns
    -------
    Denoiser

    Raises
    ------
    ParameterError
        If a word is unknown, or the module is in training mode, where dropout would make it random.
    ShapeError
        Later, if what it returns has another shape than its input.

    Notes
    -----
    Source: BASE-DDPM, BASE-VE-PC, BASE-VP.
    """
    if predicts not in ADAPTERS:
        raise ParameterError(f"predicts must be one of {', '.join(ADAPTERS)}, not {predicts!r}.")
    if isinstance(module, nn.Module) and module.training:
        raise ParameterError("the module is in training mode, where dropout is random: call its .eval() first.")
    return ADAPTERS[predicts](_plain(module), schedule, _told(time, schedule))


def _told(time: Time | Callable[[Tensor], Tensor] | str, schedule: Schedule) -> Callable[[Tensor], Tensor] | None:
    if not isinstance(time, str):
        return time
    if time not in get_args(Time):
        raise ParameterError(f"time must be one of {', '.join(get_args(Time))}, or a function, not {time!r}.")
    if time == "index":
        return lambda t: t - 1
    if time == "sigma":
        return lambda t: (schedule.sigma(t) / schedule.alpha(t)).to(t)
    return None


def _plain(module: Callable[..., Any]) -> Callable[..., Tensor]:
    def predict(x: Tensor, times: Tensor, *cond: Any) -> Tensor:
        said = module(x, times, *cond)
        said = getattr(said, "sample", said) if not isinstance(said, Tensor) else said
        said = said[0] if isinstance(said, tuple) and said else said
        if not isinstance(said, torch.Tensor):
            raise ShapeError(f"the module must return a tensor of the shape of x, not {type(said).__name__}.")
        if said.ndim == x.ndim and said.shape[1] == 2 * x.shape[1]:
            said = said[:, : x.shape[1]]
        return said

    return predict
