"""What is trained: a data set, a network and an objective, under a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from fewsteps.data import Images
from fewsteps.errors import ParameterError
from fewsteps.losses import (
    EDM,
    Adversarial,
    Answering,
    Autoencoding,
    CrossEntropy,
    Distillation,
    Eps,
    Objective,
    ParallelNoise,
    Poser,
    ScaleEstimation,
    ScoreMatching,
    SingleHead,
    geometric_levels,
    overlapping_levels,
    settling_eps,
)
from fewsteps.training.teacher import Eye, Scales, Teacher


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what training does, but how long it lasts.

    Attributes
    ----------
    name : str
        Of the recipe and of the checkpoint it makes.
    title : str
        One line for the card.
    data : str
        A data set of `fewsteps.data`; its training split is used.
    size : int
        Side of the images in pixels.
    network : dict
        For `fewsteps.networks.build`.
    objective : callable
        Makes the objective from the images.
    batch : int
        Images per step, all processes together.
    rate : float
        Adam's learning rate, after `warmup` steps and until `decay` of them; then it falls with the inverse root.
    end : int
        Steps at which it has fallen along half a cosine instead, to a sixteenth, where it stays; 0 for the root.
    half_life : float
        Of the average of the weights, in images; 0 keeps the raw weights, as NCSN's paper does.
    flip : bool
        Mirror every second image.
    shift : int
        Move images by up to so many pixels.
    unlabelled : float
        Share of images whose class is replaced by -1, "any".
    seed : int
    latent : str
        An autoencoder among the checkpoints, in whose latents it is trained; "" for pixels.
    begins : str
        A shipped checkpoint with whose weights it begins, where its network is that one with layers more; "" for none.
    extra : dict
        What a card says besides: ``sampling``, how the network's own paper samples from it; ``beside``, the network
        that it is there to be compared with, without which it is not shown.
    """

    name: str
    title: str
    data: str
    size: int
    network: dict[str, Any]
    objective: Callable[[Images], Objective]
    batch: int = 64
    rate: float = 1e-3
    warmup: int = 200
    decay: int = 10_000
    end: int = 0
    half_life: float = 100_000
    weight_decay: float = 0.0
    flip: bool = False
    shift: int = 0
    unlabelled: float = 0.5
    seed: int = 0
    latent: str = ""
    begins: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def conditional(self) -> bool:
        """Whether the network is told the class, or asked for it."""
        return bool(self.network.get("network", self.network).get("classes"))

    def described(self) -> dict[str, Any]:
        """What a card records, and what a resumed run must agree with."""
        said = asdict(self)
        for key in ("objective", "extra", "title"):
            said.pop(key)
        for key in ("latent", "begins", "end"):  # as before there were these: states of then go on
            if not said[key]:
                said.pop(key)
        return said


def edm(images: Images, *, centre: float = EDM.centre, spread: float = EDM.spread) -> EDM:
    """EDM's objective with the mean and spread that these images have."""
    pixels = images.images.double()
    mean, std = round(float(pixels.mean()), 4), round(float(pixels.std()), 4)
    return EDM(mean, std, centre=centre, spread=spread)


# Which digit or garment it will be is decided at 1 to 6 times the data's spread, where EDM's own law, tuned on
# photographs, hardly goes: under it many digits were still neither one nor another when their strokes were clean.
_structure = partial(edm, centre=0.3, spread=1.4)


def autoencoding(images: Images) -> Autoencoding:
    """The objective of an autoencoder, with this project's classifier of photographs for its eye."""
    return Autoencoding(Eye("cifar10-classifier"))


def unet(channels: int, size: int, **given: Any) -> dict[str, Any]:
    """Description of a U-Net."""
    return {"kind": "unet", "channels": channels, "size": size, **given}


_SMALL: dict[str, Any] = dict(width=32, multipliers=[1, 2, 2], blocks=1, attention=[1])
_MIDDLE: dict[str, Any] = dict(width=48, multipliers=[1, 2, 2], blocks=1, attention=[1])

_NCSN = [round(level, 6) for level in geometric_levels(1.0, 0.01, 10)]
# The largest distance between two of 10 000 digits is 16.1, a little more between any two of all.
_NCSNV2 = overlapping_levels(17.0, 0.01, 32 * 32)

RECIPES: dict[str, Recipe] = {
    made.name: made
    for made in (
        Recipe(
            name="mnist",
            title="MNIST digits at 32 px, class-conditional and unconditional, EDM preconditioning",
            data="mnist",
            size=32,
            network=unet(1, 32, classes=10, **_SMALL),
            objective=_structure,
        ),
        Recipe(
            name="fashion",
            title="Fashion-MNIST at 32 px, class-conditional and unconditional, EDM preconditioning",
            data="fashion_mnist",
            size=32,
            network=unet(1, 32, classes=10, **_SMALL),
            objective=_structure,
            flip=True,
        ),
        Recipe(
            name="cifar10",
            title="CIFAR-10 at 32 px, class-conditional and unconditional, EDM preconditioning",
            data="cifar10",
            size=32,
            network=unet(3, 32, classes=10, **_MIDDLE),
            objective=edm,
            flip=True,
            half_life=200_000,
        ),
        Recipe(
            name="cifar10-fine",
            title="CIFAR-10 at 32 px: cifar10, taught to look at single pixels in the end",
            data="cifar10",
            size=32,
            network=unet(3, 32, classes=10, finish=8, **_MIDDLE),
            objective=edm,
            flip=True,
            half_life=200_000,
            begins="cifar10",
            extra={"beside": "cifar10"},
        ),
        Recipe(
            name="cifar10-large",
            title="CIFAR-10 at 32 px with a network of tens of millions of parameters, for a GPU",
            data="cifar10",
            size=32,
            network=unet(3, 32, classes=10, width=128, multipliers=[1, 2, 2], blocks=3, attention=[1], patch=1),
            objective=edm,
            batch=512,
            flip=True,
            half_life=500_000,
        ),
        Recipe(
            name="faces",
            title="Faces of LFW at 64 px, unconditional, EDM preconditioning",
            data="lfw",
            size=64,
            network=unet(3, 64, patch=4, direct=True, **_MIDDLE),
            objective=edm,  # with _structure's law their noise was never quite taken away
            flip=True,
        ),
        Recipe(
            name="faces-autoencoder",
            title="Autoencoder of faces at 64 px: four channels at a quarter of the size",
            data="lfw",
            size=64,
            network={"kind": "autoencoder", "channels": 3, "width": 24, "latent": 4, "factor": 4},
            objective=autoencoding,
            batch=16,
            flip=True,
            half_life=20_000,
        ),
        Recipe(
            name="faces-latent",
            title="Faces of LFW at 64 px in the latents of faces-autoencoder, unconditional, EDM preconditioning",
            data="lfw",
            size=64,
            network=unet(4, 16, patch=1, **_MIDDLE),
            objective=edm,
            latent="faces-autoencoder",
            flip=True,
        ),
        Recipe(
            name="fashion-vp",
            title="Fashion-MNIST at 32 px, trained natively to predict the noise of a VP process",
            data="fashion_mnist",
            size=32,
            network=unet(1, 32, classes=10, **_SMALL),
            objective=lambda images: Eps(),
            flip=True,
        ),
        *(
            Recipe(
                name=f"{data}-ncsn",
                title=f"{long} at 32 px, NCSN: ten noise levels, the score itself, no average of the weights",
                data=data,
                size=32,
                network={"kind": "ncsn", "channels": channels, "sigmas": _NCSN, "width": 24},
                objective=lambda images: ScoreMatching(_NCSN),
                half_life=0,
                flip=flip,
                extra={"sampling": {"nfe": 1000, "per_level": 100, "eps": 2e-5, "denoise": False, "start": "uniform"}},
            )
            for long, data, channels, flip in (("MNIST", "mnist", 1, False), ("CIFAR-10", "cifar10", 3, True))
        ),
        Recipe(
            name="mnist-ncsnv2",
            title=f"MNIST at 32 px, NCSNv2: {len(_NCSNV2)} noise levels by its techniques, averaged weights",
            data="mnist",
            size=32,
            network={"kind": "ncsnv2", "channels": 1, "width": 24},
            objective=lambda images: ScoreMatching(_NCSNV2),
            # The paper's 6.2e-6 is for narrower levels, and half of a step in our convention: with it noise falls
            # behind these levels, and what comes out is noise.
            extra={
                "sampling": {
                    "nfe": 5 * len(_NCSNV2) + 1,
                    "per_level": 5,
                    "eps": float(f"{settling_eps(_NCSNV2, 5):.2g}"),
                    "start": "uniform",
                }
            },
        ),
        *(
            Recipe(
                name=f"{short}-classifier",
                title=f"Classifier of {long}, for Fréchet distances and checks",
                data=data,
                size=size,
                network={"kind": "classifier", "channels": channels, "classes": 10, "width": width},
                objective=lambda images: CrossEntropy(),
                batch=128,
                rate=2e-3,
                decay=2000,
                half_life=30_000,
                weight_decay=1e-2,
                flip=flip,
                shift=shift,
                unlabelled=0.0,
            )
            for short, long, data, size, channels, width, shift, flip in (
                ("mnist", "MNIST", "mnist", 32, 1, 16, 2, False),
                ("fashion", "Fashion-MNIST", "fashion_mnist", 32, 1, 32, 2, True),
                ("cifar10", "CIFAR-10", "cifar10", 32, 3, 32, 4, True),
                ("digits", "the 8 px digits of the scikit-learn wheel", "digits", 8, 1, 16, 1, False),
            )
        ),
        Recipe(
            name="digits",
            title="The 8 px digits of the scikit-learn wheel: a small network for tests and first steps",
            data="digits",
            size=8,
            network=unet(1, 8, width=16, multipliers=[1, 2], blocks=1, attention=[], patch=1, classes=10),
            objective=edm,
            half_life=20_000,
            unlabelled=0.1,
        ),
    )
}


# A network that a loss looks through must not judge what was trained by it. (The GANs of CIFAR-10, which wait for a
# GPU, and those of digits look through the classifier that judges them.)
RECIPES["fashion-eye"] = replace(
    RECIPES["fashion-classifier"],
    name="fashion-eye",
    title="Classifier of Fashion-MNIST for losses to look through; it judges nothing",
    seed=1,
    extra={"beside": "fashion-classifier"},
)


PARTS = {"w": "wavelet gating", "s": "spatial distillation", "f": "frequency distillation"}


def slim(
    large: Recipe,
    network: dict[str, Any],
    parts: str,
    *,
    label: str | None = None,
    alpha: float = -1.0,
    resample: str | None = None,
    relative: bool = False,
    answer: bool = False,
    strength: float = 0.1,
) -> Recipe:
    """A small network beside a large one, with any of Spectral Diffusion's three parts.

    Parameters
    ----------
    large : Recipe
        Of the teacher: its data, objective and training are the student's too.
    network : dict
        What is to be different in the student's network.
    parts : str
        Letters of `PARTS`: "" is the Lite baseline, "wsf" all of Spectral Diffusion.
    label : str, optional
        Ends the recipe's name; without it the parts do, or "lite", or "answer".
    alpha : float
        Exponent of the frequency weights.
    resample : str, optional
        Another way to halve and double than `parts` says.
    relative : bool
        Measure features by the size that the teacher's have.
    answer : bool
        Train it for the teacher's answer in place of the data, and for no features.
    strength : float
        Weight of either distance; the paper's is .1.

    Raises
    ------
    ParameterError
        If a letter is unknown, or the large network is no U-Net.

    Notes
    -----
    Source: SD-8; SD-9, Table 5.
    """
    if unknown := set(parts) - set(PARTS):
        raise ParameterError(f"parts must be letters out of {', '.join(PARTS)}, not {''.join(sorted(unknown))!r}.")
    if large.network["kind"] != "unet":
        raise ParameterError(f"{large.name} cannot teach: it is no U-Net, whose features a student could be held to.")
    described = large.network | network | {"resample": resample or ("gated" if "w" in parts else "pool")}
    weights = {"spatial": strength * ("s" in parts), "frequency": strength * ("f" in parts)}
    taught = any(weights.values())
    if answer and taught:
        raise ParameterError("a student is trained for its teacher's answer, or for the data with distillation beside.")

    def objective(images: Images) -> Objective:
        own = large.objective(images)
        if not (taught or answer):
            return own
        if not isinstance(own, Poser):
            raise ParameterError(f"{large.name} cannot teach: its noisy images cannot be had without its network.")
        teacher = Teacher(large.name, own)
        if answer:
            return Answering(own, teacher)
        return Distillation(own, teacher, alpha=alpha, relative=relative, **weights)

    widths = [large.network["width"] * factor for factor in reversed(large.network["multipliers"])]
    with_parts = ", ".join(PARTS[part] for part in parts) or "none of Spectral Diffusion's parts"
    with_parts += ", for its answer in place of the data" if answer else ""
    with_parts += ", features by their size" if relative else ""
    if taught and (strength, alpha) != (0.1, -1.0):
        with_parts += f", weights of {strength:g}, alpha {alpha:g}"
    return replace(
        large,
        begins="",
        name=f"{large.name}-{label or ('answer' if answer else parts or 'lite')}",
        title=f"A slim network beside {large.name}: {with_parts}",
        network={"kind": "student", "network": described, "widths": widths} if taught else described,
        objective=objective,
        extra={**large.extra, "beside": large.name},
    )


# A patch of 2 x 2 pixels in colour is 12 numbers. A third of a teacher's width leaves 16 channels for them and for all
# that is thought about them: its images were noise after thousands of steps. For as many multiply-adds a network that
# does not widen towards the coarse end has half the teacher's width; the straight path takes the numbers off it.
_NARROW: dict[str, dict[str, Any]] = {
    large: {"width": RECIPES[large].network["width"] // 2, "multipliers": [1, 1, 1], "direct": True}
    for large in ("cifar10-fine", "fashion", "faces", "faces-latent")
}


def _slim(large: str, parts: str, **given: Any) -> Recipe:
    return slim(RECIPES[large], _NARROW[large], parts, **given)


RECIPES |= {
    made.name: made
    for large in ("cifar10-fine", "fashion")
    for made in (
        *(_slim(large, parts) for parts in ("", "w", "s", "f", "ws", "sf", "wf", "wsf")),
        # Controls: weights of the wavelet bands that are learned and see no features; and all parts with frequencies
        # that count alike, which is twice the spatial loss.
        _slim(large, "", label="haar", resample="haar"),
        _slim(large, "wsf", label="flat", alpha=0.0),
        # A second attempt: with features as they are the distillation outweighs what the network is for.
        _slim(large, "wsf", label="wsf-relative", relative=True),
        # And with a tenth of the paper's weights.
        *(_slim(large, parts, label=f"{parts}-tenth", strength=0.01) for parts in ("s", "wsf")),
        # A third, without any of the parts: what the teacher says, in place of the data.
        _slim(large, "", answer=True),
    )
}
RECIPES |= {
    made.name: made
    for large in ("faces", "faces-latent")
    for made in (_slim(large, ""), _slim(large, "wsf"), _slim(large, "", answer=True))
}


def pixel_aware(like: Recipe, steps: int = 50, *, sampled: int = 0, suffix: str = "") -> list[Recipe]:
    """PixelAware's networks for a data set: three estimators, the parallel network, and two single heads beside it.

    The network that is told the scale needs the first of them, `like.name`-scale, among the checkpoints. Gamma is a
    tenth of T, as in the paper.

    Parameters
    ----------
    like : Recipe
        Whose data they are trained on.
    steps : int
        T.
    sampled : int
        Sub-networks trained in a step; 0 for all.
    suffix : str
        Ends the names.

    Notes
    -----
    Source: PX-5; PX-6; PX-10, Appendix F.
    """
    gamma, channels = steps / 10, like.network["channels"]
    # What passes the vector grows with the colours as well: of a state that is nearly the image, the 128 numbers that
    # are enough in grey gave a blur of CIFAR-10's, which a projection on as many principal components is not.
    through = dict(kept=8 * channels, latent=max(256, 128 * channels))
    scale = dict(kind="scale", channels=channels, size=like.size, width=32, multipliers=[1, 2, 3], **through)
    # A patch of 2 x 2 pixels in colour is 12 numbers, and noise needs all of them: with 4 channels in a sub-network
    # those of CIFAR-10 were farther from the noises than a linear regression.
    hidden = 4 * channels
    parallel = dict(kind="parallel", channels=channels, size=like.size, width=32, multipliers=[1, 2, 2], hidden=hidden)
    estimator = f"{like.name}-scale{suffix}"

    def estimation(estimates: str) -> Callable[[Images], Objective]:
        return lambda images: ScaleEstimation(gamma, steps, estimates)

    def parallel_noise(images: Images) -> Objective:
        return ParallelNoise(gamma, steps, Scales(estimator, gamma, steps), sampled=sampled)

    def single_head(images: Images) -> Objective:
        return SingleHead(gamma, steps, Scales(estimator, gamma, steps))

    def either_schedule(images: Images) -> Objective:
        return SingleHead(gamma, steps, Scales(estimator, gamma, steps), common=0.5)

    made = {
        "scale": ("scale estimator", scale, estimation("scale")),
        "scale-log": ("scale estimator that says the logarithm", scale | {"output": "linear"}, estimation("log")),
        "direct": ("the scale estimator's control, which says the image", scale, estimation("image")),
        "parallel": (
            f"the noises of all {steps} steps in one pass",
            parallel | {"heads": steps},
            parallel_noise,
        ),
        "single": (
            "one head on the parallel network's backbone, which says the image",
            parallel | {"heads": 1, "masked": False},
            single_head,
        ),
        "either": (
            "the one head, half of its states under one schedule for all pixels",
            parallel | {"heads": 1, "masked": False},
            either_schedule,
        ),
    }
    return [
        replace(
            like,
            name=f"{like.name}-{end}{suffix}",
            title=f"{like.title.split(',')[0]}, PixelAware at T = {steps}: {what}",
            network=network,
            objective=objective,
            unlabelled=0.0,
        )
        for end, (what, network, objective) in made.items()
    ]


RECIPES |= {
    made.name: made
    for made in (
        *(made for name in ("mnist", "fashion") for made in pixel_aware(RECIPES[name])),
        # Sub-networks are three times as wide in colour: all 50 in a step take nearly three times as long as 16.
        *pixel_aware(RECIPES["cifar10"], sampled=16),
        *pixel_aware(RECIPES["mnist"], 100, sampled=50, suffix="-100"),
        *pixel_aware(RECIPES["mnist"], 200, sampled=50, suffix="-200"),
    )
}

CALLED = [
    *("an airplane", "an automobile", "a bird", "a cat", "a deer", "a dog", "a frog", "a horse", "a ship", "a truck")
]
_lite = {key: value for key, value in RECIPES["cifar10-fine-lite"].network.items() if key != "classes"}
RECIPES["cifar10-worded"] = replace(
    RECIPES["cifar10-fine-lite"],
    name="cifar10-worded",
    title="The Lite network, told words in place of classes: a stand-in for text",
    network={**_lite, "kind": "worded", "context": 32, "phrases": CALLED, "classes": 10},
)


GAN_SMALL: dict[str, Any] = dict(width=32, multipliers=[1, 2, 2], blocks=1, attention=[1], critic=32, latent=64)
GAN_TINY: dict[str, Any] = dict(
    width=16, multipliers=[1, 2], blocks=1, attention=[], patch=1, critic=16, levels=2, latent=16, depth=2
)
WEIGHTS: dict[str, float] = {"pixels": 10.0, "features": 1.0, "preserve": 10.0}
"""Of Eq. 9's two terms and of Eq. 10, of mean absolute differences. The paper gives none."""
TABLE_1: dict[str, tuple[str, dict[str, Any]]] = {
    "ddgan2": ("Baseline", {"semantic": "never", "schedule": "common"}),
    "ddgan2-special": ("baseline on the special schedule", {"semantic": "never"}),
    "ddgan2-se": ("+ Semantic encoder", {"semantic": "every"}),
    "ddgan2-pixels": ("+ L1 constraint at pixel level", {"semantic": "every", "everywhere": True, "parts": "p"}),
    "ddgan2-features": ("+ L1 constraint at feature-map level", {"parts": "pf"}),
    "progddgan": ("+ Progressive training pipeline (ours)", {"parts": "pfr", "share": (0.8, 0.4)}),
    "progddgan-free": ("progressive without Eq. 10", {"parts": "pf", "share": (0.8, 0.4)}),
    "progddgan-every": ("z_T at every step", {"parts": "pfr", "share": (0.8, 0.4), "semantic": "every"}),
    "progddgan-constant": ("P constant at the mean of both ends", {"parts": "pfr", "share": (0.6, 0.6)}),
    "progddgan-uniform": ("t drawn uniformly", {"parts": "pfr"}),
}
"""How a recipe's name ends, the row's name in Table 1 or what it is a control for, and what it says to the objective.
All but the baseline are on the special schedule; the second row is there to tell the schedule from the encoder."""


PLANNED = {"digits": 200_000, "fashion": 83_200, "fashion-long": 224_000, "cifar10": 1_920_000}
"""Images that a training of a denoising diffusion GAN is planned to see, by the short name of its data: 3125 steps of
64; 2600 and 7000 of 32; 30 000 of 64. N of Eq. 11 is this number, as the paper's is the whole training; only over all
of it is .6, where P is held constant, the mean of both ends. ``fewsteps train fashion-END --steps 2600`` stops there,
after about 45 minutes of the full model on a core, and the rows for a GPU stop at the same step although one could go
on. PD-8 is judged on the long ones, `LONG`: 7000 steps, two hours of the full model on a core without bfloat16, and
3000 more for the baselines.
The lengths are this project's own: the papers train for 350 000 steps."""
LONG = ("ddgan2", "ddgan4", "progddgan")


def adversarial(
    short: str,
    long: str,
    like: Recipe,
    end: str,
    *,
    network: dict[str, Any],
    eye: str,
    batch: int = 64,
    rate: float = 5e-4,
    suffix: str = "",
    falls: tuple[int, int] = (20_000, 0),
    **said: Any,
) -> Recipe:
    """A row of ProgDDGAN's Table 1, or Denoising Diffusion GAN itself.

    Parameters
    ----------
    short, long : str
        What names and titles call the data set.
    like : Recipe
        Of a network on the same data.
    end : str
        Of the name: a key of `TABLE_1`, or a new one.
    network : dict
        What a :class:`fewsteps.networks.DDGAN` is given.
    eye : str
        A classifier among the checkpoints: V of Eq. 9, where it is another than the one that judges.
    suffix : str
        Ends the name; "-long" for those of `LONG`.
    batch : int
        Images of a step.
    rate : float
        The papers' is 1.6e-4 for the generator, over 350 000 steps; this project has a few thousand.
    falls : (int, int)
        Steps between which it falls along half a cosine; a second of 0 for the inverse root.
    **said
        As for :class:`fewsteps.losses.Adversarial`, with the span of `PLANNED`; and ``parts``, letters out of "p", "f"
        and "r" for the losses on pixels and features and the one that preserves, with the weights of `WEIGHTS`.

    Notes
    -----
    Source: PD-8, Table 1; BASE-DDGAN.
    """
    called, row = TABLE_1.get(end, (f"T = {said.get('steps', 2)}", {}))
    given = {"span": PLANNED[short + suffix], **row, **said}
    parts = given.pop("parts", "")
    weights: dict[str, Any] = {
        name: value for letter, (name, value) in zip("pfr", WEIGHTS.items(), strict=True) if letter in parts
    }

    def objective(images: Images) -> Adversarial:
        return Adversarial(**given, **weights, eye=Eye(eye) if "f" in parts else None)

    semantic = given.get("semantic", "first") != "never"
    return replace(
        like,
        name=f"{short}-{end}{suffix}",
        title=f"Denoising diffusion GAN of {long}: {called}{', long' if suffix else ''}",
        network={"kind": "ddgan", "channels": like.network["channels"], "size": like.size, "semantic": semantic}
        | network,
        objective=objective,
        batch=batch,
        rate=rate,
        warmup=0,
        decay=falls[0],
        end=falls[1],
        unlabelled=0.0,
        # The gallery shows the long ones; rows of Table 1 are for comparison.
        extra={} if suffix or f"{short}-long" not in PLANNED else {"beside": f"{short}-progddgan-long"},
    )


def prior_of(made: Recipe) -> Recipe:
    """The diffusion model of a GAN's semantic vectors.

    Notes
    -----
    Source: PD-6.
    """
    return replace(
        made,
        name=f"{made.name}-prior",
        title=f"Diffusion model of the semantic vectors of {made.name}",
        network={"kind": "prior", "channels": made.network["latent"], "size": 1},
        objective=edm,
        batch=256,
        rate=1e-3,
        warmup=200,
        decay=10_000,
        latent=made.name,
    )


# The rate falls as in DDGAN's code over the second half of a row's steps, and for the baselines, which miss their gate
# after the 7000 steps that the full model has, over 3000 more; the full model was trained at one rate.
_SHORT = (1300, 2600)
_FALLS = {"ddgan2": (7000, 10_000), "ddgan4": (7000, 10_000), "progddgan": (20_000, 0)}
# Half a batch is half the time of a step, and a core has few hours for each of thirteen.
_FASHION: dict[str, Any] = {"network": GAN_SMALL, "eye": "fashion-eye", "batch": 32}
# R1 and the ratio of the rates, 1.25e-4 to 1.6e-4, are those of DDGAN's code for CIFAR-10.
_CIFAR: dict[str, Any] = {
    "network": GAN_SMALL | {"width": 48, "critic": 48},
    "eye": "cifar10-classifier",
    "r1": 0.02,
    "critic": 0.78,
}
_GANS = [
    *(adversarial("fashion", "Fashion-MNIST", RECIPES["fashion"], end, falls=_SHORT, **_FASHION) for end in TABLE_1),
    *(
        adversarial(
            "fashion",
            "Fashion-MNIST",
            RECIPES["fashion"],
            end,
            suffix="-long",
            falls=_FALLS[end],
            **_FASHION,
        )
        for end in LONG
        if end in TABLE_1
    ),
    *(
        adversarial(
            "fashion",
            "Fashion-MNIST",
            RECIPES["fashion"],
            "ddgan4",
            suffix=suffix,
            steps=4,
            semantic="never",
            schedule="common",
            falls=_FALLS["ddgan4"] if suffix else _SHORT,
            **_FASHION,
        )
        for suffix in ("", "-long")
    ),
    *(
        adversarial(
            "digits",
            "8 px digits",
            RECIPES["digits"],
            end,
            network=GAN_TINY,
            eye="digits-classifier",
            rate=1e-3,
        )
        for end in ("ddgan2", "progddgan")
    ),
    *(
        adversarial(
            "cifar10",
            "CIFAR-10",
            RECIPES["cifar10"],
            end,
            **_CIFAR,
        )
        for end in ("ddgan2", "progddgan")
    ),
    adversarial(
        "cifar10",
        "CIFAR-10",
        RECIPES["cifar10"],
        "ddgan4",
        steps=4,
        semantic="never",
        schedule="common",
        **_CIFAR,
    ),
]
RECIPES |= {made.name: made for made in _GANS}
RECIPES |= {prior.name: prior for prior in map(prior_of, (m for m in _GANS if m.network["semantic"]))}


def recipe(name: object) -> Recipe:
    """The recipe of that name.

    Raises
    ------
    ParameterError
        If there is none; lists those there are.
    """
    if isinstance(name, str) and name in RECIPES:
        return RECIPES[name]
    raise ParameterError(f"recipe must be one of {', '.join(RECIPES)}, not {name!r}.")
