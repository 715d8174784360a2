"""Chapter 08: a large network and small ones sampling from the same noise, side by side, and what the gates do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from fewsteps import checkpoints, export, samplers, schedules
from fewsteps.errors import ParameterError
from fewsteps.parameters import integer, number
from fewsteps.schedules import VE
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.course import Course, Message, without_gradients
from fewsteps.widgets.sampling import RHO, RUNTIME_BYTES, SIZE, STEPS, _loaded, gaussians

COUNT = 8  # images of each network
MOST = 3  # networks


class SlimLab(Course):
    """Shipped networks sampling by DDIM from the same noise, with the time that each takes; gates against noise.

    Images in [0, 1] on the variance exploding process, EDM's grid of noise levels.

    Parameters
    ----------
    networks : mapping of str to str
        What each network is called, to its checkpoint: two or three under EDM's preconditioning, of one shape.
    gates : sequence of mappings
        As ``tools/measure_slim.py`` writes them: ``layer``, ``times``, ``mean`` and ``spread`` by step and band.
    spectrum : (sequence, sequence)
        Frequencies in cycles per pixel and the power of real images there, by ring of DCT frequencies.
    macs : mapping of str to int, optional
        Multiply-adds of one image, by what the network is called.
    layer : str
        Whose gates are shown.
    noise : float
        At which noise the gates are read, in units of the spread of the data.
    steps, seed, label
        As for :class:`SamplingLab`.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint.
    ParameterError
        If the networks do not fit each other or the page, or a number is out of range.

    Notes
    -----
    Source: SD-8; SD-9, Fig. 9.
    """

    _esm = bundle("slim_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    layer = traitlets.Any().tag(sync=True)
    noise = traitlets.Any(0.5).tag(sync=True)
    steps = traitlets.Any(20).tag(sync=True)
    seed = traitlets.Any(3).tag(sync=True)
    label = traitlets.Any(-1).tag(sync=True)

    def __init__(
        self,
        networks: Mapping[str, str],
        gates: Sequence[Mapping[str, Any]],
        spectrum: tuple[Sequence[float], Sequence[float]],
        macs: Mapping[str, int] | None = None,
        **traits: Any,
    ) -> None:
        if not 2 <= len(networks) <= MOST:
            raise ParameterError(f"networks must name two or {MOST} checkpoints, not {len(networks)}.")
        cards = {called: export.require_edm(checkpoints.card(name)) for called, name in networks.items()}
        shapes = {(card["network"]["channels"], card["data"]["size"]) for card in cards.values()}
        if len(shapes) > 1 or max(size for _, size in shapes) > SIZE:
            raise ParameterError(f"networks must make images of one size, of at most {SIZE} pixels and of one kind.")
        [(channels, size)] = shapes
        classes = min(int(card["network"].get("classes", 0)) for card in cards.values())
        layers = {gate["layer"]: {key: gate[key] for key in ("times", "mean", "spread")} for gate in gates}
        if not layers:
            raise ParameterError("gates must hold at least one layer: measure a network that has gates.")
        times = [time for gate in layers.values() for time in gate["times"]]
        self._checks: dict[str, Callable[[Any], Any]] = {
            "layer": lambda value: _one_of(value, list(layers)),
            "noise": lambda value: number("noise", value, least=min(times), most=max(times)),
            "steps": lambda value: integer("steps", value, least=STEPS[0], most=STEPS[1]),
            "seed": lambda value: integer("seed", value, least=0, most=99),
            "label": lambda value: integer("label", value, least=-1, most=classes - 1),
        }
        self._networks = {called: (card["name"], card["weights"]["sha256"]) for called, card in cards.items()}
        schedule = VE()
        super().__init__(
            setting={
                "networks": [
                    {
                        "called": called,
                        "file": export.file_name(card),
                        "parameters": card["parameters"],
                        "macs": (macs or {}).get(called),
                        "bytes": card["weights"]["bytes"],
                    }
                    for called, card in cards.items()
                ],
                "shape": [channels, size, size],
                "classes": classes,
                "highest": schedule.t_max,
                "lowest": schedule.t_min,
                "rho": RHO,
                "count": COUNT,
                "runtime": RUNTIME_BYTES,
                "layers": layers,
                "spectrum": [list(values) for values in spectrum],
            },
            layer=traits.pop("layer", next(iter(layers))),
            **traits,
        )
        self.on_msg(self._hear)

    @traitlets.validate("layer", "noise", "steps", "seed", "label")
    def _within_range(self, proposal: Any) -> Any:
        return self._checks[proposal.trait.name](proposal.value)

    def walk(self, called: str) -> Iterator[tuple[samplers.Step, float]]:
        """The run of one network that the controls describe now, and the seconds of every step.

        Parameters
        ----------
        called : str
            What the network is called.

        Notes
        -----
        Source: SD-8; BASE-DDIM.
        """
        model, schedule = _loaded(*self._networks[called]), VE()
        z = torch.from_numpy(gaussians(COUNT * int(torch.tensor(model.shape).prod()), self.seed))
        start = schedule.t_max * z.reshape(COUNT, *model.shape).float()
        run = samplers.ddim(
            model.denoiser(schedule),
            start,
            schedules.karras(schedule, self.steps, rho=RHO),
            noise=_none,
            cond=torch.full((COUNT,), self.label) if model.classes else None,
        )
        steps = without_gradients(run)
        while True:
            begin = time.perf_counter()
            if (step := next(steps, None)) is None:
                return
            yield step, time.perf_counter() - begin

    def _messages(self) -> Iterator[Message]:
        for steps in zip(*(self.walk(called) for called in self._networks), strict=True):
            for index, (step, seconds) in enumerate(steps):
                said = {"network": index, "i": step.i, "level": step.t, "ms": 1000 * seconds}
                yield said, (step.x, step.x0_hat)


def _none(shape: tuple[int, ...]) -> Tensor:
    raise AssertionError("DDIM draws no noise")


def _one_of(value: Any, known: list[str]) -> str:
    if value not in known:
        raise ParameterError(f"layer must be one of {', '.join(known)}, not {value!r}.")
    return value
