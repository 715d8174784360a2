"""The loop."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fewsteps import checkpoints, memory
from fewsteps.data import Images, load
from fewsteps.errors import ParameterError, TrainingError
from fewsteps.losses import Adversarial, semantic_share
from fewsteps.networks import DDGAN, Student, build
from fewsteps.networks.gan import PER_GROUP
from fewsteps.parameters import integer, number
from fewsteps.training.recipes import RECIPES, Recipe
from fewsteps.training.state import Average, Position, begin_with, restore, store, take_up
from fewsteps.training.teacher import latents
from fewsteps.training.team import Team

GRADIENT = 1.0  # the norm at which gradients are cut
LEAST = 1 / 16  # of its rate, where a recipe lets it fall to an end: 1e-5 of 1.6e-4 in DDGAN's code
MEASURED = 2000  # training images, the first ones, that moments of semantic vectors are taken of
WON, PATIENCE = 0.01, 500  # a discriminator's loss, and for how many steps, at which it leaves its generator nothing


@dataclass(frozen=True)
class Progress:
    """What is said after every step."""

    step: int
    images: int
    seconds: float
    loss: float
    total: int
    """Steps at the end, as far as the pace so far tells."""


def train(
    recipe: Recipe,
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    device: str | torch.device | None = None,
    interval: float = 180.0,
    compiled: bool | None = None,
    half: bool | None = None,
    changed: bool = False,
    start: Path | None = None,
    images: Images | None = None,
    say: Callable[[Progress], None] | None = None,
    kept: Callable[[int], None] | None = None,
) -> Path:
    """Train a network, or go on with one.

    Randomness is a function of (seed, step, process) alone, so a run that was stopped and taken up again gives the
    same weights as one that never stopped.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Where ``state.safetensors`` (to go on from), ``log.jsonl`` and the checkpoint with its card are written.
    minutes : float, optional
        Training time in all, what earlier runs spent included.
    steps : int, optional
        Steps in all, those of earlier runs included. One of the two must be given.
    device : optional
        Default: a GPU where there is one.
    interval : float
        Seconds between two checkpoints; a killed run loses no more than this.
    compiled : bool, optional
        torch.compile; default on GPUs only, where it pays. On two CPU cores compiling took longer than it could save.
    half : bool, optional
        Compute in bfloat16 where that keeps its range; weights stay in float32. Default: where the device computes in
        it, for elsewhere it takes twice as long as single precision. The card says which it was.
    changed : bool
        Go on from a state although the recipe has changed since in something else than data and network; the card
        then says what it was before, and until which step.
    start : Path, optional
        A folder with a checkpoint of this recipe, from whose weights a run without a state begins; time and steps
        count on from its card, which then says so.
    images : Images, optional
        Instead of loading the recipe's data set; pixels, for a network in latents too.
    say : callable, optional
        Gets a `Progress` about once a second.
    kept : callable, optional
        Gets the step after every checkpoint that was written, to look at it.

    Returns
    -------
    Path
        Of the card of the checkpoint.

    Raises
    ------
    ParameterError
        If neither minutes nor steps is given, or one is out of range.
    TrainingError
        If the loss is not finite: the last good checkpoint is kept. Or if memory ran out, with the batch that fits.
    CheckpointError
        If the folder holds the state of another recipe, or `start` a checkpoint of another; if the checkpoint that a
        recipe begins with is not there or has weights that the network has no place for.
    """
    if minutes is None and steps is None:
        raise ParameterError("minutes or steps must be given: training has no end of its own.")
    limit = 60 * number("minutes", minutes, above=0) if minutes is not None else math.inf
    last = integer("steps", steps, least=1) if steps is not None else math.inf
    number("interval", interval, above=0)
    with Team(device) as team:
        source = shown(recipe, folder, images)
        run = begun(recipe, folder, source, team, compiled=compiled, half=half, changed=changed, start=start)
        run.kept = kept
        return run.until(limit, last, interval, say)


def shown(recipe: Recipe, folder: Path, images: Images | None = None) -> Images:
    """What a recipe's network is trained on: its data set, or `images`, as latents where it works in them."""
    images = load(recipe.data, "train", recipe.size) if images is None else images
    if not recipe.latent:
        return images
    return latents(images, recipe.latent, flip=recipe.flip, folder=checkpoints.home(recipe.latent, folder))


def begun(recipe: Recipe, folder: Path, images: Images, team: Team, **given: Any) -> Run:
    """A run of the kind that a recipe's network asks for; arguments as for :class:`Run`."""
    return (AdversarialRun if recipe.network["kind"] == "ddgan" else Run)(recipe, folder, images, team, **given)


class Run:
    """One process's part of a training run."""

    kept: Callable[[int], None] | None = None

    raw = ""
    """How the names of weights begin that are not averaged."""

    multiple = 1
    """What a batch must be a multiple of."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        images: Images,
        team: Team,
        *,
        compiled: bool | None,
        half: bool | None,
        changed: bool = False,
        start: Path | None = None,
    ) -> None:
        self.recipe, self.folder, self.team = recipe, folder, team
        self.source = images
        self.objective = recipe.objective(images)
        torch.manual_seed(recipe.seed)  # the initial weights are drawn inside torch.nn
        self.network = build(recipe.network)
        self.layout = torch.channels_last if team.device.type == "cuda" else torch.contiguous_format
        lay_out(self.network.to(team.device), self.layout)
        self.average = Average(self.network, recipe.half_life, self.raw)
        self.optimiser = self._optimiser()
        self.state = folder / "state.safetensors"
        self.position = Position()
        if self.state.exists():
            self.position = restore(
                self.state, self.network, self.average, self.optimiser, self.said(), changed=changed
            )
        elif start is not None:
            self.position = take_up(
                start, recipe.name, self.network, self.average, self.said(), self.objective.predicts
            )
        elif recipe.begins:
            self.position = begin_with(recipe.begins, self.network, self.average)
        self.wrapped = team.wrap(self.network)
        if team.device.type == "cuda" if compiled is None else compiled:
            self._compile()
        self.half = computes_half(team.device) if half is None else half
        self.images, self.labels = images.images.to(team.device), images.labels
        self.labels = self.labels.to(team.device) if self.labels is not None else None
        self.generator = torch.Generator(team.device)

    def _compile(self) -> None:
        self.wrapped = torch.compile(self.wrapped)

    def _optimiser(self) -> torch.optim.Optimizer:
        """One for everything that is trained, so that one state holds it."""
        recipe = self.recipe
        return torch.optim.AdamW(self.network.parameters(), recipe.rate, weight_decay=recipe.weight_decay, fused=True)

    def until(self, limit: float, last: float, interval: float, say: Callable[[Progress], None] | None) -> Path:
        """Train up to a time or a step."""
        position, started = self.position, time.monotonic()
        spent = position.seconds
        saved = spoken = started
        total, count = torch.zeros((), device=self.team.device), 0
        while True:
            now = time.monotonic()
            position.seconds = spent + now - started
            over, due, tell = self.team.agree(
                position.seconds >= limit or position.step >= last, now - saved >= interval, now - spoken >= 1
            )
            if (over or due or tell) and count:
                position.loss = float(self.team.mean(total / count))  # one process waits for its GPU only here
                if not math.isfinite(position.loss):
                    raise TrainingError(self._diverged(position))
                self._look(count)
                self._say(say, limit, last)
                spoken = now
                total, count = torch.zeros_like(total), 0
            if (due or over) and position.step:
                self.store()
                saved = time.monotonic()
            if over:
                return self.folder / f"{self.recipe.name}.json"
            try:
                total += self.step()
                full = None
            except (RuntimeError, MemoryError) as error:
                if not memory.ran_out(error):
                    raise
                full = str(error)  # and not the error, whose frames hold what the step had allocated
            if full is not None:
                raise TrainingError(self._full())
            count += 1

    def step(self) -> Tensor:
        """One step of training, and its loss on this device."""
        self._set_rate()
        x0, cond = self.share_of(self.recipe.batch)
        with self._precision():
            # The objective is given this process's share of the batch and of its own randomness.
            losses = self.objective(self.wrapped, x0, cond, self.generator)
        loss = losses.float().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._advance()
        return loss.detach()

    def _set_rate(self) -> None:
        for group in self.optimiser.param_groups:
            step = rate(self.position.step, self.recipe, since=self.position.restarted)
            group["lr"] = self.recipe.rate * group.get("times", 1.0) * step

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.team.device.type, torch.bfloat16) if self.half else nullcontext()

    def _advance(self) -> None:
        """Count a step, and take its weights into their average."""
        self.position.step += 1
        self.position.images += self.recipe.batch
        self.average.update(self.network, self.recipe.batch, self.position.images)

    def _look(self, count: int) -> None:
        """Whether what the last `count` steps said lets training go on."""

    def _noted(self) -> dict[str, float]:
        """What a line of the log holds besides the loss."""
        return {}

    def share_of(self, batch: int) -> tuple[Tensor, Tensor | None]:
        """Of the step's images, the share of this process, a function of (seed, step, process) alone."""
        recipe, team = self.recipe, self.team
        share = batch // team.size
        if share * team.size != batch:
            raise ParameterError(f"batch must be a multiple of the {team.size} processes, not {batch}.")
        self.generator.manual_seed((recipe.seed * 1_000_003 + self.position.step) * 1009 + team.rank)
        device, generator = team.device, self.generator
        chosen = torch.randint(len(self.images), (share,), device=device, generator=generator)
        x0, cond = self.images[chosen], None
        if recipe.flip and not recipe.latent:  # mirrored latents are in the set already
            mirror = torch.rand(share, device=device, generator=generator) < 0.5
            x0 = torch.where(mirror[:, None, None, None], x0.flip(-1), x0)
        if recipe.shift:
            x0 = shifted(x0, recipe.shift, generator)
        if recipe.conditional and self.labels is not None:
            cond = self.labels[chosen]
            if recipe.unlabelled:
                drop = torch.rand(share, device=device, generator=generator) < recipe.unlabelled
                cond = torch.where(drop, -1, cond)
        return x0.contiguous(memory_format=self.layout), cond

    def _say(self, say: Callable[[Progress], None] | None, limit: float, last: float) -> None:
        position = self.position
        pace = position.seconds / max(position.step, 1)
        total = min(last, limit / max(pace, 1e-9))
        if say is not None and self.team.rank == 0:
            say(
                Progress(
                    position.step, position.images, position.seconds, position.loss, max(int(total), position.step)
                )
            )

    def require_finite(self) -> None:
        """Raise if a weight is not finite: the loss is from before a step, and this looks at what it made."""
        if not all(bool(weight.isfinite().all()) for weight in self.network.parameters()):
            raise TrainingError(self._diverged(self.position))

    def store(self) -> None:
        """Write state, checkpoint and a line of the log, or raise if the weights are not finite."""
        self.require_finite()
        if self.team.rank:
            return
        store(self.state, self.network, self.average, self.optimiser, self.position, self.said())
        checkpoints.save(self.folder, self._card(), self._weights())
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            position = self.position
            line = {"step": position.step, "seconds": round(position.seconds, 1), "loss": round(position.loss, 5)}
            log.write(json.dumps(line | self._noted()) + "\n")
        if self.kept is not None:
            self.kept(position.step)

    def _weights(self) -> dict[str, Tensor]:
        """What the checkpoint holds."""
        return shipped(self.network, self.average.weights)

    def said(self) -> dict[str, Any]:
        """What a run that goes on must agree with."""
        return self.recipe.described() | {"objective": repr(self.objective), "images": self.source.sha256}

    def _card(self) -> dict[str, Any]:
        recipe, position, source = self.recipe, self.position, self.source
        return {
            "name": recipe.name,
            "title": recipe.title,
            "network": recipe.network["network"] if isinstance(self.network, Student) else recipe.network,
            "parameters": sum(
                weight.numel() for weight in shipped(self.network, dict(self.network.named_parameters())).values()
            ),
            "predicts": self.objective.predicts,
            "data": {
                "name": recipe.data,
                "split": "train",
                "size": recipe.size,
                "count": len(source),
                "sha256": source.sha256,
                "source": source.source,
                **({"latent": self._latent()} if recipe.latent else {}),
            },
            "training": {
                "command": self._command(),
                "steps": position.step,
                "images": position.images,
                "minutes": round(position.seconds / 60, 1),
                "loss": round(position.loss, 5),
                "machine": machine(self.team.device),
                "processes": self.team.size,
                "torch": torch.__version__,
                "precision": "bfloat16" if self.half else "float32",
                "recipe": recipe.described(),
                **({"history": position.history} if position.history else {}),
            },
            **recipe.extra,
        }

    def _latent(self) -> dict[str, str]:
        """The autoencoder, pinned: other weights would decode other images."""
        name = self.recipe.latent
        card = checkpoints.card(name, checkpoints.home(name, self.folder))
        return {"name": name, "sha256": card["weights"]["sha256"]}

    def _command(self) -> str:
        known = RECIPES.get(self.recipe.name, self.recipe)
        changed = [
            f"--{key} {getattr(self.recipe, key):g}"
            for key in ("batch", "rate")
            if getattr(known, key) != getattr(self.recipe, key)
        ]
        return " ".join([f"fewsteps train {self.recipe.name} --steps {self.position.step}", *changed])

    def _diverged(self, position: Position) -> str:
        kept = "nothing was kept"
        if self.state.exists():
            kept = "the checkpoint before it is kept, and the same command goes on from there"
        return (
            f"Training diverged near step {position.step}, with a loss of {position.loss:g}: {kept}; "
            f"a smaller learning rate than {self.recipe.rate:g} usually helps."
        )

    def _attempt(self, batch: int) -> None:
        """What takes a step's memory, with a batch of another size."""
        x0, cond = self.share_of(batch)
        self.objective(self.network, x0, cond, self.generator).mean().backward()

    def _full(self) -> str:
        self.optimiser.zero_grad(set_to_none=True)
        fits = memory.largest_batch(self._attempt, self.recipe.batch, self.multiple)
        few = "one image fits" if self.multiple == 1 else f"{self.multiple} images fit"
        advice = f"--batch {fits} fits" if fits else f"not even {few}"
        return f"Memory ran out with {self.recipe.batch} images per step: {advice}."


class AdversarialRun(Run):
    """A generator and a discriminator in turns, in the same loop: one network, one optimiser, one state.

    Every step is two: the discriminator's, then the generator's and the encoder's, on one drawing. A weight without a
    gradient is left alone by the optimiser, which is how each half moves its own.

    Notes
    -----
    Source: PD-4, BASE-DDGAN.
    """

    raw = "discriminator."
    multiple = PER_GROUP

    def __init__(self, recipe: Recipe, folder: Path, images: Images, team: Team, **given: Any) -> None:
        if team.size > 1:
            raise TrainingError(f"{recipe.name} trains two networks against each other in one process: start one.")
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.beaten = self.judged = 0.0
        super().__init__(recipe, folder, images, team, **given)

    @property
    def sides(self) -> tuple[Adversarial, DDGAN]:
        """What they are trained for, and both of them."""
        assert isinstance(self.objective, Adversarial) and isinstance(self.network, DDGAN)
        return self.objective, self.network

    def _optimiser(self) -> torch.optim.Optimizer:
        objective, network = self.sides
        critics = {f"discriminator.{name}" for name, _ in network.discriminator.named_parameters()}
        named = dict(network.named_parameters())
        groups = [
            {"params": [weight for name, weight in named.items() if name not in critics], "times": 1.0},
            {"params": [named[name] for name in named if name in critics], "times": objective.critic},
        ]
        # Without weight decay it is Adam.
        return torch.optim.AdamW(
            groups, self.recipe.rate, betas=objective.betas, weight_decay=self.recipe.weight_decay, fused=True
        )

    def _weights(self) -> dict[str, Tensor]:
        weights, encoder = super()._weights(), self.sides[1].encoder
        if encoder is None:
            return weights
        # The averaged encoder's vectors have another law than those that any encoder gave on the way.
        averaged = deepcopy(encoder)
        own = {name.removeprefix("encoder."): w for name, w in weights.items() if name.startswith("encoder.")}
        averaged.load_state_dict({name: w.half().to(w) for name, w in own.items()})  # as a checkpoint keeps them
        some = 2 * self.images[:MEASURED] - 1
        averaged.measure(torch.cat((some, some.flip(-1))) if self.recipe.flip else some)
        return weights | {f"encoder.{name}": moments for name, moments in averaged.named_buffers()}

    def _compile(self) -> None:
        # In place. The penalty's derivative of a derivative cannot be compiled, so the discriminator is not.
        self.sides[1].generator.compile()

    def step(self) -> Tensor:
        """One step of each side; the generator's loss."""
        objective, network = self.sides
        self._set_rate()
        images, _ = self.share_of(self.recipe.batch)
        network.train()
        with self._precision():
            drawn = objective.draw(network, images, float(self.position.images), self.generator)
            judged = objective.judge(network, drawn)
        loss = self._mean(judged)
        if objective.r1 and self.position.step % objective.interval == 0:
            loss = loss + self._mean({"r1": objective.penalty(network, drawn.pair)})
        self._move(loss, network.discriminator, "discriminator")

        network.discriminator.requires_grad_(False)
        with self._precision():
            terms = objective.deceive(network, drawn, self.generator)
        loss = self._mean(terms)
        self._move(loss, network, "generator")
        network.discriminator.requires_grad_(True)
        self._advance()
        return loss.detach()

    def _attempt(self, batch: int) -> None:
        objective, network = self.sides
        images, _ = self.share_of(batch)
        with self._precision():
            drawn = objective.draw(network, images, float(self.position.images), self.generator)
            judged = objective.judge(network, drawn)
        loss = self._mean(judged)
        if objective.r1:  # it acts at few steps, which must fit as well
            loss = loss + self._mean({"r1": objective.penalty(network, drawn.pair)})
        loss.backward()
        with self._precision():
            terms = objective.deceive(network, drawn, self.generator)
        self._mean(terms).backward()

    def _mean(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The sum of the terms' means, each of them noted for the log."""
        means = {name: term.float().mean() for name, term in terms.items()}
        for name, value in means.items():
            self._note(name, value)
        return torch.stack(list(means.values())).sum()

    def _move(self, loss: Tensor, network: nn.Module, name: str) -> None:
        loss.backward()
        # Nothing is cut, as in the paper; the norm is there to be looked at.
        self._note(
            f"gradient of {name}",
            torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None]),
        )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _note(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value.detach()
        self.counts[name] = self.counts.get(name, 0) + 1

    def _look(self, count: int) -> None:
        total = float(self.sums.get("discriminator", torch.zeros(())))
        loss, self.judged = (total - self.judged) / count, total
        if not math.isfinite(loss):
            raise TrainingError(self._diverged(self.position))
        self.beaten = self.beaten + count if loss < WON else 0
        if self.beaten >= PATIENCE:
            raise TrainingError(
                f"The discriminator won near step {self.position.step}: its loss stayed below {WON:g} for "
                f"{self.beaten:.0f} steps, and the generator learns nothing from it; the last checkpoint is kept; a "
                "larger r1 or a smaller critic (the discriminator's share of the learning rate) usually helps."
            )

    def _noted(self) -> dict[str, float]:
        means = {name: round(float(total) / self.counts[name], 5) for name, total in self.sums.items()}
        self.sums, self.counts, self.judged = {}, {}, 0.0
        share = self.sides[0].share
        if share is not None:
            means["P"] = round(semantic_share(self.position.images, self.sides[0].span, *share), 4)
        return means


def shipped(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that a checkpoint holds: all, or of a student those of its network, without what compared it."""
    if not isinstance(network, Student):
        return dict(weights)
    return {name.removeprefix("network."): value for name, value in weights.items() if name.startswith("network.")}


def rate(step: int, recipe: Recipe, *, since: int = 0) -> float:
    """Learning rate over its largest value: a linear start, a plateau, then an inverse root that knows no end.

    Where a recipe names an end it is half a cosine in place of the root, as in BASE-DDGAN.
    The start is counted from `since`, where Adam's moments began.
    """
    rise = min((step - since + 1) / max(recipe.warmup, 1), 1.0)
    if not recipe.end:
        return rise / math.sqrt(max(step / recipe.decay, 1.0))
    done = min(max((step - recipe.decay) / (recipe.end - recipe.decay), 0.0), 1.0)
    return rise * (LEAST + (1 - LEAST) * (1 + math.cos(math.pi * done)) / 2)


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `most` pixels in both directions, zeros where it came from."""
    count, _, height, width = images.shape
    padded = nn.functional.pad(images, (most,) * 4)
    moves = torch.randint(2 * most + 1, (2, count), device=images.device, generator=generator)
    rows = moves[0][:, None] + torch.arange(height, device=images.device)
    columns = moves[1][:, None] + torch.arange(width, device=images.device)
    index = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def computes_half(device: torch.device) -> bool:
    """Whether a device has arithmetic in bfloat16 of its own; every GPU that this library is for has."""
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # which older torch has not
        return True
    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Lay out what has four dimensions; of a network with gates or many heads, whose weights have five, the rest."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=layout)


def machine(device: torch.device) -> str:
    """What it ran on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
