"""diffusers' schedulers with a filter on the noise that they inject; with no filter they are their parents.

A pipeline draws its first noise itself, where no scheduler can reach: a filter acts from the first step on, and one
that names the start is refused. In a loop of your own, hand the start ``filt.noise(z)``.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler, DDIMSchedulerOutput
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler, DDPMSchedulerOutput
from diffusers.schedulers.scheduling_sde_ve import ScoreSdeVeScheduler, SdeVeOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin, SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from fewsteps.errors import ParameterError
from fewsteps.filters import IDENTITY, Filter
from fewsteps.samplers import snr_step


class _Filtered:
    """Takes ``filt`` beside whatever the parent takes."""

    filt: Filter
    places: frozenset[str] = frozenset({"predictor"})
    drifts = False

    def __init_subclass__(cls) -> None:
        parent = next(base for base in cls.__mro__ if base not in (cls, _Filtered))
        start = parent.__init__

        def __init__(self: Any, *given: Any, filt: Filter = IDENTITY, **named: Any) -> None:
            self.filt = self.checked(filt)
            start(self, *given, **named)

        # from_config, which pipelines use, hands over what the signature names
        own = inspect.signature(start)
        extra = inspect.Parameter("filt", inspect.Parameter.KEYWORD_ONLY, default=IDENTITY)
        known = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        __init__.__signature__ = own.replace(parameters=[*known, extra])  # pyright: ignore[reportFunctionMemberAccess]
        cls.__init__ = __init__

    @classmethod
    def checked(cls, filt: Filter) -> Filter:
        """The filter, unless a part of it would be ignored.

        Raises
        ------
        ParameterError
            If it names a place that this scheduler does not have, or has a drift where there is no score.
        """
        beyond = sorted((filt.where or set()) - cls.places)
        if beyond:
            there = " and ".join(sorted(cls.places))
            raise ParameterError(
                f"{cls.__name__} filters the noise of its {there}, not of the {' or '.join(beyond)}: "
                f"use filt.at({', '.join(map(repr, sorted(cls.places)))})."
            )
        if filt.drift and not cls.drifts:
            raise ParameterError(f"{cls.__name__} has no score term for a filter's drift: use drift=False.")
        return filt

    def _stirred(self, mean: Tensor, noisy: Tensor) -> Tensor:
        """`noisy` with the noise in it filtered."""
        return mean + self.filt.noise(noisy - mean) if self.filt.acts("predictor") else noisy


class FilteredScoreSdeVeScheduler(_Filtered, ScoreSdeVeScheduler):
    """NCSN++'s predictor-corrector in diffusers, with a filter.

    Parameters
    ----------
    filt : Filter
        On the predictor's noise ("predictor") and the moves' ("corrector"), and with drift on the score beside each.
        The other parameters are the parent's.

    Raises
    ------
    ParameterError
        If the filter asks for what is not there.

    Notes
    -----
    Source: TDAS-3; PDS-3; BASE-VE-PC. The same numbers as :func:`fewsteps.samplers.predictor_corrector`.
    """

    places = frozenset({"predictor", "corrector"})
    drifts = True

    def step_pred(
        self, model_output: Tensor, timestep: Any, sample: Tensor, generator: Any = None, return_dict: bool = True
    ) -> Any:
        """The parent's step down."""
        score = self.filt.precondition(model_output) if self.filt.acts("predictor") else model_output
        noisy, mean = super().step_pred(score, timestep, sample, generator=generator, return_dict=False)
        noisy = self._stirred(mean, noisy)
        return SdeVeOutput(prev_sample=noisy, prev_sample_mean=mean) if return_dict else (noisy, mean)

    def step_correct(
        self, model_output: Tensor, sample: Tensor, generator: Any = None, return_dict: bool = True
    ) -> Any:
        """The parent's Langevin move, sized by the norms of the filtered noise and of M M^T times the score."""
        if not self.filt.acts("corrector"):
            return super().step_correct(model_output, sample, generator=generator, return_dict=return_dict)
        z = randn_tensor(sample.shape, generator=generator, device=sample.device, dtype=sample.dtype)
        z, score = self.filt.noise(z), self.filt.precondition(model_output)
        size = snr_step(self.config["snr"])(score, z, 0)
        moved = sample + size * score + (2 * size) ** 0.5 * z
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)


class FilteredDDPMScheduler(_Filtered, DDPMScheduler):
    """DDPM in diffusers, with a filter on its noise.

    Parameters
    ----------
    filt : Filter
        Without drift. The other parameters are the parent's.

    Raises
    ------
    ParameterError
        If the filter asks for what is not there.

    Notes
    -----
    Source: TDAS-3; BASE-DDPM. The same numbers as :func:`fewsteps.samplers.ddpm`.
    """

    def step(
        self, model_output: Tensor, timestep: Any, sample: Tensor, generator: Any = None, return_dict: bool = True
    ) -> Any:
        """The parent's step."""
        noisy, x0 = super().step(model_output, timestep, sample, generator=generator, return_dict=False)
        if timestep > 0 and self.filt.acts("predictor"):
            noisy = self._stirred(self._mean(x0, timestep, sample), noisy)
        return DDPMSchedulerOutput(prev_sample=noisy, pred_original_sample=x0) if return_dict else (noisy, x0)

    def _mean(self, x0: Tensor, timestep: Any, sample: Tensor) -> Tensor:
        """The mean of the posterior that the parent has put its noise on."""
        before = self.previous_timestep(timestep)
        total = self.alphas_cumprod[timestep]
        kept = self.alphas_cumprod[before] if before >= 0 else torch.ones_like(total)
        ratio = total / kept
        return kept**0.5 * (1 - ratio) / (1 - total) * x0 + ratio**0.5 * (1 - kept) / (1 - total) * sample


class FilteredDDIMScheduler(_Filtered, DDIMScheduler):
    """DDIM in diffusers, with a filter on the noise that it injects where eta is above 0.

    Parameters
    ----------
    filt : Filter
        Without drift. The other parameters are the parent's.

    Raises
    ------
    ParameterError
        If the filter asks for what is not there; when a step has eta = 0, and nothing to filter.

    Notes
    -----
    Source: TDAS-3; BASE-DDIM. The same numbers as :func:`fewsteps.samplers.ddim`.
    """

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = False,
        generator: Any = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """The parent's step."""
        if self.filt.acts("predictor"):
            if not eta > 0:
                raise ParameterError("DDIM with eta=0 injects no noise that a filter could act on: give eta above 0.")
            if variance_noise is None:
                variance_noise = randn_tensor(
                    sample.shape, generator=generator, device=sample.device, dtype=sample.dtype
                )
            variance_noise, generator = self.filt.noise(variance_noise), None
        noisy, x0 = super().step(
            model_output,
            timestep,
            sample,
            eta=eta,
            use_clipped_model_output=bool(use_clipped_model_output),
            generator=generator,
            variance_noise=variance_noise,
            return_dict=False,
        )
        return DDIMSchedulerOutput(prev_sample=noisy, pred_original_sample=x0) if return_dict else (noisy, x0)


FILTERED: dict[type[SchedulerMixin], type[SchedulerMixin]] = {
    ScoreSdeVeScheduler: FilteredScoreSdeVeScheduler,
    DDPMScheduler: FilteredDDPMScheduler,
    DDIMScheduler: FilteredDDIMScheduler,
}


def filtered(scheduler: SchedulerMixin, filt: Filter) -> Any:
    """The same scheduler with a filter: ``pipe.scheduler = filtered(pipe.scheduler, filt)``.

    Parameters
    ----------
    scheduler : ScoreSdeVeScheduler, DDPMScheduler or DDIMScheduler
    filt : Filter

    Returns
    -------
    A scheduler of the same settings.

    Raises
    ------
    ParameterError
        If it is another scheduler, or the filter asks for what that one does not have.

    Notes
    -----
    Source: TDAS-3.
    """
    for parent, made in FILTERED.items():
        if isinstance(scheduler, parent):
            return made.from_config(scheduler.config, filt=filt)  # pyright: ignore[reportAttributeAccessIssue]
    known = ", ".join(parent.__name__ for parent in FILTERED)
    raise ParameterError(f"scheduler must be one of {known}, not {type(scheduler).__name__}.")
