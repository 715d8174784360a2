"""The objective of denoising diffusion GANs, and of the progressive one: Eq. 6, 9, 10 and 11, every weight named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fewsteps.denoisers.adversarial import SEMANTIC
from fewsteps.denoisers.edm import clock
from fewsteps.errors import ParameterError
from fewsteps.parameters import integer, number
from fewsteps.resident import Resident
from fewsteps.schedules import Discrete, stepped

Features = Callable[[Tensor], Sequence[Tensor]]
Critic = Callable[[Tensor, Tensor, Tensor], Tensor]


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)) of logits, (B,).

    Notes
    -----
    Source: PD-4, Eq. 6; BASE-DDGAN.
    """
    return F.softplus(-real) + F.softplus(fake)


def generator_loss(fake: Tensor) -> Tensor:
    """-log D(fake) of logits, (B,): the form whose gradient does not vanish where the discriminator is sure.

    Notes
    -----
    Source: PD-4, Eq. 6 (non-saturating); BASE-DDGAN.
    """
    return F.softplus(-fake)


def gradient_penalty(critic: Critic, x_s: Tensor, x_t: Tensor, times: Tensor) -> Tensor:
    """R1: squared norm of the gradient of the logit by the LESS noisy of the two real images, (B,).

    Parameters
    ----------
    critic : callable
        A discriminator of (x_s, x_t, times).
    x_s, x_t : Tensor, shape (B, C, H, W)
    times : Tensor, shape (B,)

    Notes
    -----
    The noisier image is no argument of the penalty. DDGAN applies it every few steps and does not multiply it by
    their number.

    Source: PD-4, BASE-DDGAN.
    """
    x_s = x_s.detach().requires_grad_(True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(critic(x_s, x_t, times).sum(), x_s, create_graph=True)
    return slope.square().flatten(1).sum(1)


def feature_difference(features: Features, first: Tensor, second: Tensor) -> Tensor:
    """Mean absolute difference of activations, averaged over depths, (B,); the first image is the goal.

    Parameters
    ----------
    features : callable
        From images in [0, 1] to activations at several depths.
    first, second : Tensor, shape (B, C, H, W)
        In [-1, 1].

    Notes
    -----
    Source: PD-4, Eq. 9: V is VGG there and this project's own classifier here.
    """
    with torch.no_grad():
        wanted = features((first + 1) / 2)
    found = features((second + 1) / 2)
    apart = [(a.to(second) - b.to(second)).abs().flatten(1).mean(1) for a, b in zip(wanted, found, strict=True)]
    return torch.stack(apart).mean(0)


def semantic_share(done: float, span: float, most: float = 0.8, least: float = 0.4) -> float:
    """P(n): how often training draws the step T, falling in a line from `most` to `least` and staying there.

    Parameters
    ----------
    done, span : float
        Images seen, and after how many the end is reached: the whole training's, as Eq. 11's N is all of its epochs.
    most, least : float
        Pmax and Pmin.

    Raises
    ------
    ParameterError
        If a probability is outside [0, 1], or `span` is not positive.

    Notes
    -----
    Source: PD-5, Eq. 11.
    """
    number("most", most, least=0, most=1)
    number("least", least, least=0, most=1)
    number("span", span, above=0)
    return most - (most - least) * min(number("done", done, least=0) / span, 1.0)


class Pair(NamedTuple):
    """Two noisy versions of clean images, one step apart."""

    x0: Tensor
    """(B, C, H, W), in [-1, 1]."""
    t: Tensor
    """Whole numbers from 1 to T, (B,)."""
    x_s: Tensor
    """At t - 1."""
    x_t: Tensor
    """At t, made of `x_s` by one step of the forward process."""
    times: Tensor
    """What networks are told of t, (B,)."""


class Drawn(NamedTuple):
    """What a generator made of a pair."""

    pair: Pair
    z_sem: Tensor | None
    """What the encoder saw, (B, latent)."""
    said: Tensor
    """x0, (B, C, H, W)."""
    fake: Tensor
    """x_{t-1}, drawn given x_t and that x0."""


@dataclass(frozen=True)
class Adversarial:
    """A generator against a discriminator, a step of the diffusion at a time.

    Parameters
    ----------
    steps : int
        T.
    schedule : {"common", "special"}
        See :func:`fewsteps.schedules.stepped`.
    semantic : {"never", "first", "every"}
        At which steps the latent vector is what the encoder sees in x0.
    pixels, features : float
        Weights of the two terms of Eq. 9, which the paper does not give: of mean absolute differences.
    preserve : float
        Weight of Eq. 10, for t < T.
    everywhere : bool
        Apply Eq. 9 at every step and not at T alone, as the ablation's third row does.
    eye : callable, optional
        V of Eq. 9, from images in [0, 1] to activations, such as :meth:`fewsteps.networks.Classifier.taps`.
    share : (float, float), optional
        Pmax and Pmin of Eq. 11. Without it t is uniform.
    span : int
        Images after which Pmin is reached: as many as the training is planned to see. One that goes on stays at Pmin.
    r1, interval : float, int
        Weight of the gradient penalty (half of it multiplies the squared norm), and every how many steps it acts.
    critic : float
        The discriminator's learning rate over the generator's.
    betas : (float, float)
        Adam's.

    Raises
    ------
    ParameterError
        If a number is out of range, or the parts do not go together.

    Notes
    -----
    Stop-gradients: the discriminator's step does not reach generator and encoder, theirs does not reach it; the goals
    of Eq. 9 (features of x0) and of Eq. 10 (the model's own x0 of the step before) are fixed while the loss is
    derived. At t = T the adversarial loss trains the encoder as well. Every term counts over the whole batch, images
    at other steps with 0, so that how often a step is drawn is how much it weighs.

    Source: PD-4, Eq. 6, 9 and 10; PD-5, Eq. 11; BASE-DDGAN (semantic "never", all weights 0).
    """

    steps: int = 2
    schedule: str = "special"
    semantic: str = "first"
    pixels: float = 0.0
    features: float = 0.0
    preserve: float = 0.0
    everywhere: bool = False
    eye: Features | None = None
    share: tuple[float, float] | None = None
    span: int = 400_000
    r1: float = 0.05
    interval: int = 15
    critic: float = 1.0
    betas: tuple[float, float] = (0.5, 0.9)

    def __post_init__(self) -> None:
        integer("steps", self.steps, least=2)
        if self.semantic not in SEMANTIC:
            raise ParameterError(f"semantic must be one of {', '.join(SEMANTIC)}, not {self.semantic!r}.")
        for name in ("pixels", "features", "preserve", "r1"):
            number(name, getattr(self, name), least=0)
        number("critic", self.critic, above=0)
        integer("interval", self.interval, least=1)
        if self.features and self.eye is None:
            raise ParameterError("features, a weight above 0, needs eye, a network that has features.")
        if self.semantic == "never" and (self.pixels or self.features or self.preserve):
            raise ParameterError(
                "pixels, features and preserve must be 0 without an encoder: noise cannot say which image."
            )
        if self.share is not None:
            semantic_share(0, self.span, *self.share)
        self.process  # noqa: B018 - says at once if there is no such schedule

    @property
    def predicts(self) -> dict[str, Any]:
        """Kind "ddgan", and everything that decided the training."""
        return {
            "kind": "ddgan",
            "steps": self.steps,
            "schedule": self.schedule,
            "semantic": self.semantic,
            "weights": {"adversarial": 1.0, "pixels": self.pixels, "features": self.features}
            | {"preserve": self.preserve, "r1": self.r1},
            "everywhere": self.everywhere,
            "eye": None if self.eye is None else repr(self.eye),
            "share": None if self.share is None else [*self.share, self.span],
            "interval": self.interval,
            "critic": self.critic,
            "betas": list(self.betas),
        }

    @cached_property
    def process(self) -> Discrete:
        """The forward process."""
        return stepped(self.steps, self.schedule)

    @cached_property
    def _tables(self) -> dict[str, Resident]:
        """By step 0 .. T, on any device: scales, the clock, and the coefficients of q(x_{t-1} given x_t, x0)."""
        bar = self.process.alpha_bars
        gone = 1 - bar  # 1 - alpha_bar
        alpha, before, gone_before = bar[1:] / bar[:-1], bar[:-1], gone[:-1]
        beta = 1 - alpha
        posterior = {
            "to_x0": beta * before.sqrt() / gone[1:],
            "to_x_t": gone_before * alpha.sqrt() / gone[1:],
            "spread": (beta * gone_before / gone[1:]).sqrt(),
            "keep": alpha.sqrt(),
            "add": beta.sqrt(),
            "clock": clock((gone[1:] / bar[1:]).sqrt()),
        }
        padded = {name: F.pad(table, (1, 0), value=math.nan) for name, table in posterior.items()}
        every = padded | {"alpha": bar.sqrt(), "sigma": gone.sqrt()}
        return {name: Resident(table) for name, table in every.items()}

    def at(self, name: str, t: Tensor, like: Tensor) -> Tensor:
        """A coefficient at the steps t, (B,), broadcast over images where there are any."""
        table = self._tables[name].on(like.device, like.dtype)[t]
        return table.reshape(-1, *[1] * (like.ndim - 1))

    def steps_of(self, count: int, done: float, generator: torch.Generator, device: torch.device) -> Tensor:
        """Steps to train at, (count,): T with probability P(n), else uniform below it."""
        uniform = torch.rand(count, device=device, generator=generator)
        lower = torch.randint(1, self.steps, (count,), device=device, generator=generator)
        chance = 1 / self.steps if self.share is None else semantic_share(done, self.span, *self.share)
        return torch.where(uniform < chance, self.steps, lower)

    def pose(self, images: Tensor, done: float, generator: torch.Generator) -> Pair:
        """Draw steps and noises.

        Parameters
        ----------
        images : Tensor, shape (B, C, H, W)
            In [0, 1].
        done : float
            Images seen so far, which Eq. 11 asks for.
        generator : torch.Generator
        """
        x0 = 2 * images - 1
        t = self.steps_of(len(x0), done, generator, x0.device)
        x_s = self.at("alpha", t - 1, x0) * x0 + self.at("sigma", t - 1, x0) * _normal(x0.shape, x0, generator)
        x_t = self.at("keep", t, x0) * x_s + self.at("add", t, x0) * _normal(x0.shape, x0, generator)
        return Pair(x0, t, x_s, x_t, self.at("clock", t, x0).flatten())

    def posterior(self, x0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """A draw of q(x_{t-1} given x_t, x0); `noise` counts for nothing at t = 1, where x0 is what is left."""
        return self.at("to_x0", t, x0) * x0 + self.at("to_x_t", t, x0) * x_t + self.at("spread", t, x0) * noise.to(x0)

    def latent(self, z_sem: Tensor | None, z: Tensor, t: Tensor) -> Tensor:
        """z_T where a step is told it, white noise elsewhere, (B, latent)."""
        if z_sem is None or self.semantic == "never":
            return z
        if self.semantic == "every":
            return z_sem
        return torch.where((t == self.steps)[:, None], z_sem.to(z), z)

    def encode(self, network: Any, x0: Tensor) -> Tensor | None:
        """z_T of images in [-1, 1], of all of them: an encoder that no image of a batch needs still has gradients."""
        return None if self.semantic == "never" else network.encoder(x0)

    def draw(self, network: Any, images: Tensor, done: float, generator: torch.Generator) -> Drawn:
        """Pose, and let the generator draw. One drawing serves both sides: DDGAN's code makes two, alike in law.

        Parameters
        ----------
        network : fewsteps.networks.DDGAN
        images : Tensor, shape (B, C, H, W)
            In [0, 1].
        done : float
            Images seen so far.
        generator : torch.Generator
        """
        pair = self.pose(images, done, generator)
        z_sem = self.encode(network, pair.x0)
        z = _normal((len(images), network.latent), pair.x0, generator)
        noise = _normal(images.shape, pair.x0, generator)
        said = network.generator(pair.x_t, pair.times, self.latent(z_sem, z, pair.t)).to(pair.x0)
        return Drawn(pair, z_sem, said, self.posterior(said, pair.x_t, pair.t, noise))

    def judge(self, network: Any, drawn: Drawn) -> dict[str, Tensor]:
        """The discriminator's loss, (B,), under "discriminator"."""
        pair, fake = drawn.pair, drawn.fake.detach()
        # One after the other: the spread within groups is of real images or of drawn ones.
        real, drawn_ones = (network.discriminator(x_s, pair.x_t, pair.times).float() for x_s in (pair.x_s, fake))
        return {"discriminator": discriminator_loss(real, drawn_ones)}

    def penalty(self, network: Any, pair: Pair) -> Tensor:
        """Half of `r1` times the squared gradient, (B,)."""
        return self.r1 / 2 * gradient_penalty(network.discriminator, pair.x_s, pair.x_t, pair.times)

    def deceive(self, network: Any, drawn: Drawn, generator: torch.Generator) -> dict[str, Tensor]:
        """The terms of the generator's and the encoder's loss, weighted, each (B,); their sum is the loss."""
        pair, z_sem, said, fake = drawn
        logits = network.discriminator(fake, pair.x_t, pair.times).float()
        terms = {"adversarial": generator_loss(logits)}
        first = pair.t == self.steps
        counts = torch.ones_like(first) if self.everywhere else first
        if self.pixels:
            terms["pixels"] = self.pixels * counts * (said - pair.x0).abs().flatten(1).mean(1)
        if self.features and self.eye is not None:
            apart = said.new_zeros(len(said))
            if bool(counts.any()):  # only images that count: the eye takes longer than the generator
                apart = apart.index_put((counts,), feature_difference(self.eye, pair.x0[counts], said[counts]))
            terms["features"] = self.features * apart
        if self.preserve:
            apart, later = said.new_zeros(len(said)), ~first
            if bool(later.any()):
                goal = self.before(
                    network, pair.x0[later], pair.t[later], None if z_sem is None else z_sem[later], generator
                )
                apart = apart.index_put((later,), (said[later] - goal).abs().flatten(1).mean(1))
            terms["preserve"] = self.preserve * apart
        return terms

    @torch.no_grad()
    def before(self, network: Any, x0: Tensor, t: Tensor, z_sem: Tensor | None, generator: torch.Generator) -> Tensor:
        """x0^{t+1} of Eq. 10: what the model itself, from x_T down, has made of x0 one step earlier, (B, C, H, W).

        Parameters
        ----------
        network : fewsteps.networks.DDGAN
        x0 : Tensor, shape (B, C, H, W)
            In [-1, 1].
        t : Tensor, shape (B,)
            Steps below T.
        z_sem : Tensor, shape (B, latent), optional
        generator : torch.Generator
        """
        now = torch.full_like(t, self.steps)
        x = self.at("alpha", now, x0) * x0 + self.at("sigma", now, x0) * _normal(x0.shape, x0, generator)
        goal = torch.full_like(x0, math.nan)
        for step in range(self.steps, 1, -1):
            now = torch.full_like(t, step)
            z = self.latent(z_sem, _normal((len(x0), network.latent), x0, generator), now)
            said = network.generator(x, self.at("clock", now, x0).flatten(), z).to(x0)
            goal = torch.where((t == step - 1)[:, None, None, None], said, goal)
            if step > 2:
                x = self.posterior(said, x, now, _normal(x0.shape, x0, generator))
        return goal

    def __call__(self, network: Any, x0: Tensor, cond: Tensor | None, generator: torch.Generator) -> Tensor:
        """Both sides' losses in one, (B,): what a step costs, for whoever measures that."""
        drawn = self.draw(network, x0, 0.0, generator)
        terms = self.judge(network, drawn) | self.deceive(network, drawn, generator)
        return torch.stack(list(terms.values())).sum(0)


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), device=like.device, dtype=like.dtype, generator=generator)
