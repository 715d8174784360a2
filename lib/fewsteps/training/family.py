"""Several students of one teacher, step by step beside each other, so that the teacher answers once for all of them.

All of them draw the same images and the same noise at a step, randomness being a function of seed and step: what the
teacher says to one it would say to the next. The weights are those of as many separate trainings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps.data import Images
from fewsteps.errors import ParameterError
from fewsteps.losses import Answering, Distillation
from fewsteps.parameters import integer, number
from fewsteps.training.loop import Run, shown
from fewsteps.training.recipes import Recipe
from fewsteps.training.team import Team


class Once:
    """A teacher that remembers its last answer.

    Parameters
    ----------
    teacher : callable
        As for :class:`fewsteps.losses.Distillation`.
    """

    def __init__(self, teacher: Callable[..., Any]) -> None:
        self.teacher = teacher
        self.asked = 0
        """How often the teacher had to answer."""
        self.seconds = 0.0
        """How long that took."""
        self._given: tuple[Tensor, ...] = ()
        self._said: Any = None

    def __repr__(self) -> str:
        return repr(self.teacher)  # a state of a training of one's own goes on here, and the other way round

    def __call__(self, *given: Tensor) -> Any:
        """The answer, which must not be written into."""
        known = len(given) == len(self._given) and all(map(torch.equal, given, self._given))
        if not known:
            began = time.monotonic()
            self._given, self._said = tuple(value.clone() for value in given), self.teacher(*given)
            self.asked, self.seconds = self.asked + 1, self.seconds + time.monotonic() - began
        return self._said


def together(
    recipes: Sequence[Recipe],
    folder: Path,
    *,
    steps: int,
    device: str | torch.device | None = None,
    interval: float = 180.0,
    half: bool | None = None,
    changed: bool = False,
    start: Path | None = None,
    images: Images | None = None,
    say: Callable[[int, dict[str, float]], None] | None = None,
) -> list[Path]:
    """Train all of them to the same step.

    Parameters
    ----------
    recipes : sequence of Recipe
        Of one data set and size, in pixels or in the same latents. Some may have no teacher.
    folder : Path
        Each gets a folder of its name in it, as :func:`fewsteps.training.train` writes it, and goes on from there.
    steps : int
        In all, those of earlier runs included.
    device, interval, half, changed, start, images
        As for :func:`fewsteps.training.train`.
    say : callable, optional
        Gets the step and the mean losses about once a minute.

    Returns
    -------
    list of Path
        Of the cards.

    Raises
    ------
    ParameterError
        If the recipes are not of one data set or not in the same latents, or `steps` is below 1.
    TrainingError
        If one diverges: nothing is written then, so that what all had kept before stays.
    CheckpointError
        If a folder holds the state of another recipe.

    Notes
    -----
    Source: SD-9, Table 5: columns that are compared at equal training.
    """
    integer("steps", steps, least=1)
    number("interval", interval, above=0)
    if len({(made.data, made.size, made.latent, made.flip and bool(made.latent)) for made in recipes}) != 1:
        raise ParameterError("recipes must be of one data set and size, all in pixels or in the same latents.")
    if gans := [made.name for made in recipes if made.network["kind"] == "ddgan"]:
        raise ParameterError(f"recipes must be of networks with one side: {', '.join(gans)} is trained by itself.")
    with Team(device) as team:
        source = shown(recipes[0], folder / recipes[0].name, images)
        given: dict[str, Any] = {"compiled": None, "half": half, "changed": changed, "start": start}
        runs = [Run(made, folder / made.name, source, team, **given) for made in recipes]
        taught = _share_teachers(runs)
        saved = spoken = time.monotonic()
        losses = [torch.zeros((), device=team.device) for _ in runs]
        counts = [0] * len(runs)
        while any(run.position.step < steps for run in runs):
            # Whoever is behind, after a kill between two writes, catches up first.
            step = min(run.position.step for run in runs)
            before = {once: once.seconds for once in taught}
            for index, run in enumerate(runs):
                if run.position.step > step:
                    continue
                began, asked = time.monotonic(), sum(once.seconds for once in taught)
                losses[index] += run.step()
                counts[index] += 1
                run.position.seconds += time.monotonic() - began - (sum(once.seconds for once in taught) - asked)
            for once, pupils in taught.items():  # whoever asks first waits for the answer, which is for all of them
                for run in pupils:
                    run.position.seconds += (once.seconds - before[once]) / len(pupils)
            now, over = time.monotonic(), step + 1 >= steps
            if over or now - spoken >= 60:
                for run, loss, count in zip(runs, losses, counts, strict=True):
                    run.position.loss = float(loss) / count if count else run.position.loss
                if say is not None:
                    say(step + 1, {run.recipe.name: run.position.loss for run in runs})
                losses, counts, spoken = [torch.zeros_like(loss) for loss in losses], [0] * len(runs), now
            if over or now - saved >= interval:
                for run in runs:
                    run.require_finite()
                for run in runs:
                    run.store()
                saved = now
        return [folder / run.recipe.name / f"{run.recipe.name}.json" for run in runs]


def _share_teachers(runs: Sequence[Run]) -> dict[Once, list[Run]]:
    """One teacher for all whose teachers are the same, and whose it is."""
    shared: dict[str, Once] = {}
    taught: dict[Once, list[Run]] = {}
    for run in runs:
        if isinstance(run.objective, Distillation | Answering):
            once = shared.setdefault(repr(run.objective.teacher), Once(run.objective.teacher))
            run.objective = replace(run.objective, teacher=once)
            taught.setdefault(once, []).append(run)
    return taught
