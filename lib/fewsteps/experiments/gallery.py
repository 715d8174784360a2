"""What the gallery shows of a network: its samples, the training images nearest to them, its spectrum, its card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, data, metrics, spectra
from fewsteps.data import Images
from fewsteps.errors import DataError
from fewsteps.experiments import gates, references
from fewsteps.experiments.sampling import Plan, sample


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Training images nearest to samples, by the distance of pixels.

    Attributes
    ----------
    images : Tensor, shape (N, C, H, W)
        The nearest training image of each sample, mirrored where that is nearer and training mirrored too.
    distance : Tensor, shape (N,)
        Root mean square over pixels.
    """

    images: Tensor
    distance: Tensor


def generators() -> list[str]:
    """The shipped networks that make images, those of photographs last; not those that are shown beside another."""
    cards = {name: card for name in checkpoints.names() if "beside" not in (card := checkpoints.card(name))}
    kinds = ("edm", "eps", "score", "ddgan")
    names = [
        name for name, card in cards.items() if card["predicts"]["kind"] in kinds and card["network"]["kind"] != "prior"
    ]
    return sorted(names, key=lambda name: (cards[name]["network"]["channels"], name))


def plan_for(name: str, count: int, nfe: int = 50, seed: int = 0) -> Plan:
    """How a network is sampled for show: all classes in turn where it knows any.

    Networks of NCSN's kind take what their card says of their own paper's sampler, and fewer moves per level where
    `nfe` is below 50. Denoising diffusion GANs take their few calls, whatever `nfe`.
    """
    card = checkpoints.card(name)
    plan = replace(gates.asked(card), count=count, seed=seed)
    if card["predicts"]["kind"] == "ddgan":
        return plan
    if card["predicts"]["kind"] != "score":
        return replace(plan, nfe=nfe)
    moves = max(1, math.floor(plan.named["per_level"] * min(1.0, nfe / 50)))
    calls = moves * len(card["predicts"]["sigmas"]) + bool(plan.named.get("denoise", True))
    return replace(plan, nfe=calls, named={**plan.named, "per_level": moves})


def neighbours(name: str, samples: Tensor) -> Neighbours:
    """The training image nearest to each sample.

    Parameters
    ----------
    name : str
        Of the network that made the samples.
    samples : Tensor, shape (N, C, H, W)
        In [0, 1].

    Raises
    ------
    DataError
        If the training images are not at hand; nothing is downloaded for this.
    """
    card = checkpoints.card(name)
    source = card["data"]
    if not data.at_hand(source["name"]):
        raise DataError(
            f"the training images of {name} are not on this machine: set FEWSTEPS_DATA, or load {source['name']} once."
        )
    known = _known(source["name"], source["size"]).images
    mirrored = bool(card["training"]["recipe"].get("flip"))
    sides = [known, known.flip(-1)] if mirrored else [known]
    found = [metrics.nearest(samples.flatten(1), side.flatten(1)) for side in sides]
    best = torch.stack([side.distance[:, 0] for side in found]).argmin(0)
    images = torch.stack([sides[side][found[side].index[k, 0]] for k, side in enumerate(best.tolist())])
    distance = torch.stack([side.distance[:, 0] for side in found]).amin(0)
    return Neighbours(images, distance / samples[0].numel() ** 0.5)


@lru_cache(maxsize=1)
def _known(dataset: str, size: int) -> Images:
    return data.load(dataset, "train", size)


def spectrum(name: str, samples: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """Frequencies, power of samples and power of the training images by ring, or None without a reference."""
    source = checkpoints.card(name)["data"]
    known = references.networks_for(source["name"], source["size"])
    if not known:
        return None
    real = references.read(source["name"], source["size"], known[0]).train_spectrum
    made = spectra.radial_power(samples.double())
    frequency = torch.arange(len(real), dtype=torch.float64) / (2 * (len(real) - 1))
    return frequency[1:], made[1:], real[1:]


def described(names: Sequence[str]) -> list[tuple[str, ...]]:
    """What the cards say, a row for each."""
    rows = []
    for name in names:
        card = checkpoints.card(name)
        training = card["training"]
        rows.append(
            (
                name,
                f"{card['data']['name']}, {card['data']['size']} px",
                f"{card['network']['kind']}, {card['predicts']['kind']}",
                f"{card['parameters'] / 1e6:.2f} M",
                f"{checkpoints.images_seen(card) / 1e6:.2f} M",
                f"{training['minutes']:.0f} min, {training['machine']}",
                f"{card['weights']['bytes'] / 2**20:.1f} MiB",
            )
        )
    return rows


COLUMNS = ("FD", "precision", "recall", "confident", "spectrum, low half", "spectrum, high half")


def measured(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The numbers of the cards, a row for each network, and after each number what real images have.

    Returns
    -------
    list of tuple
        Name, images, and a text for each of `COLUMNS`: the first with its 95 % interval, in the features of the
        classifier of that data set.
    """
    rows = []
    for name in names:
        card = checkpoints.card(name)
        for kind, text in (("measured", name), ("without_class", f"{name}, without a class")):
            if card.get(kind, {}).get("rows"):
                rows.append((text, *_cells(card[kind])))
    return rows


def _cells(said: Mapping[str, Any]) -> list[str]:
    first = said["rows"][0]
    known = {row["metric"]: row for row in said["rows"] if row["extractor"] in (first["extractor"], "power (DCT)")}
    cells = [f"{first['value']:.3g} [{first['low']:.2g}, {first['high']:.2g}] ({first['floor']:.2g})"]
    cells += [f"{known[key]['value']:.2g} ({known[key]['floor']:.2g})" if key in known else "" for key in COLUMNS[1:]]
    return [f"{said['count']:,} at {said['nfe']} NFE", *cells]


def drawn(name: str, count: int, nfe: int, seed: int) -> Tensor:
    """Samples of a network for show, in [0, 1]."""
    return sample(plan_for(name, count, nfe, seed)).images
