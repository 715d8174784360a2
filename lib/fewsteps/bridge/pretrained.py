"""A published diffusers model as a denoiser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fewsteps.bridge import needed
from fewsteps.bridge.modules import denoiser
from fewsteps.denoisers import Denoiser
from fewsteps.errors import DataError, ParameterError
from fewsteps.schedules import VE, Discrete, Schedule

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A model that was published, and how to sample from it.

    Attributes
    ----------
    denoiser : Denoiser
        For every sampler of this library.
    shape : (int, int, int)
        (C, H, W) of its images.
    unet : nn.Module
        diffusers' own.
    scheduler : dict
        The settings of the scheduler that it was published with.
    """

    denoiser: Denoiser
    shape: tuple[int, int, int]
    unet: nn.Module
    scheduler: dict[str, Any]


def pretrained(where: str | Path, *, device: torch.device | str = "cpu") -> Pretrained:
    """A UNet2DModel with its scheduler: a folder that a pipeline was saved to, or the name of a repository on the hub.

    Parameters
    ----------
    where : str or Path
        As in "google/ncsnpp-church-256" or "google/ddpm-cifar10-32". Downloaded once, by diffusers, where it is no
        folder; files of weights that are pickles are read as tensors only.
    device : optional

    Returns
    -------
    Pretrained

    Raises
    ------
    DataError
        If nothing is there, or it cannot be fetched.
    ParameterError
        If its scheduler is of a kind whose schedule is not known here, or diffusers is missing.

    Notes
    -----
    Source: BASE-VE-PC, BASE-DDPM. NCSN++ in this format divides its output by the noise level itself: it returns the
    score of images in [0, 1] and is told the noise level.
    """
    diffusers = needed.diffusers()
    try:
        pipe = diffusers.DiffusionPipeline.from_pretrained(str(where))
    except (OSError, ValueError) as error:
        raise DataError(
            f"there is no pipeline of diffusers' form at {str(where)!r}, or it cannot be fetched: name a folder that "
            "one was saved to, or a repository on the hub where there is a network."
        ) from error
    unet: Any = getattr(pipe, "unet", None)
    settings = pipe.scheduler.config
    if not isinstance(unet, diffusers.UNet2DModel):
        raise ParameterError(
            f"the model at {str(where)!r} must be a UNet2DModel, not {type(unet).__name__}: bridge.denoiser takes any "
            "module with its schedule."
        )
    unet = unet.to(device).eval().requires_grad_(False)
    schedule, predicts, time = described(settings)
    size = unet.config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    shape = (int(unet.config["in_channels"]), int(height), int(width))
    return Pretrained(denoiser(unet, predicts, schedule, time=time), shape, unet, dict(settings))


def described(settings: dict[str, Any]) -> tuple[Schedule, str, str]:
    """Schedule, what the network predicts and what it is told, from a scheduler's settings.

    Parameters
    ----------
    settings : dict
        Of ``scheduler_config.json``.

    Raises
    ------
    ParameterError
        If the kind of scheduler, or of its betas, is not known.
    """
    kind = str(settings.get("_class_name", "")).removeprefix("Filtered")
    if kind == "ScoreSdeVeScheduler":
        return VE(settings["sigma_min"], settings["sigma_max"]), "score", "sigma"
    made: Any = getattr(needed.diffusers(), kind, None)
    if not hasattr(made, "set_timesteps") or "beta_schedule" not in settings:
        raise ParameterError(
            f"the scheduler must have betas or be a ScoreSdeVeScheduler, unlike {kind or 'one without a name'}: "
            "bridge.denoiser takes any module with its schedule."
        )
    said = settings.get("prediction_type", "epsilon")
    if said not in PREDICTIONS:
        raise ParameterError(f"prediction_type must be one of {', '.join(PREDICTIONS)}, not {said!r}.")
    betas = made.from_config(settings).betas
    return Discrete(betas), PREDICTIONS[said], "index"
