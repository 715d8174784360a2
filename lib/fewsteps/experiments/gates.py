"""What a network must reach before it is shipped, written down before it was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLAN: dict[str, Any] = {"sampler": "dpmpp_2m", "nfe": 50, "count": 1000, "labels": "any"}
"""How every network under EDM's preconditioning is judged: 1,000 images without a class."""


@dataclass(frozen=True)
class Gate:
    """Limits on the numbers of a card.

    Attributes
    ----------
    floors : float
        Fréchet distance to the training images, in multiples of the real-against-real floor at the same count.
    confident : float
        Least share of images that the classifier is sure of (above .9).
    classes : (float, float)
        Least and largest share of any class.
    precision, recall : float
        Least values.
    """

    floors: float
    confident: float = 0.0
    classes: tuple[float, float] = (0.0, 1.0)
    precision: float = 0.5
    recall: float = 0.3


GATES: dict[str, Gate] = {
    "mnist": Gate(floors=10, confident=0.95, classes=(0.05, 0.15)),
    "fashion": Gate(floors=10, confident=0.6, classes=(0.03, 0.2)),
    "fashion-vp": Gate(floors=15, confident=0.6, classes=(0.03, 0.2)),
    "cifar10": Gate(floors=30, classes=(0.03, 0.2)),
    "digits": Gate(floors=10, confident=0.9, classes=(0.05, 0.15)),
    "mnist-ncsn": Gate(floors=60, classes=(0.02, 0.3)),
    "mnist-ncsnv2": Gate(floors=60, classes=(0.02, 0.3)),
}


def failures(name: str, measured: Mapping[str, Any]) -> list[str]:
    """What of a card's numbers does not reach its gate; empty if all does, or if there is no gate.

    Parameters
    ----------
    name : str
        Of the checkpoint.
    measured : mapping
        What :func:`fewsteps.experiments.evaluation.evaluate` returned.
    """
    gate = GATES.get(name)
    if gate is None:
        return []
    if not measured.get("rows"):
        return ["nothing was measured"]
    rows = {row["metric"]: row for row in reversed(measured["rows"])}
    distance = next(row for key, row in rows.items() if key.startswith(("FD-", "FID")) and not key.endswith("(test)"))
    shares = rows["confident"]["classes"]
    checks = {
        f"{distance['metric']} {distance['value']:.3g} above {gate.floors:g} floors of {distance['floor']:.3g}": (
            distance["value"] <= gate.floors * distance["floor"]
        ),
        f"share classified above .9 {rows['confident']['value']:.3f} below {gate.confident:g}": (
            rows["confident"]["value"] >= gate.confident
        ),
        f"shares of classes {min(shares):.3f} to {max(shares):.3f} outside {gate.classes}": (
            gate.classes[0] <= min(shares) and max(shares) <= gate.classes[1]
        ),
        f"precision {rows['precision']['value']:.3f} below {gate.precision:g}": (
            rows["precision"]["value"] >= gate.precision
        ),
        f"recall {rows['recall']['value']:.3f} below {gate.recall:g}": rows["recall"]["value"] >= gate.recall,
    }
    return [sentence for sentence, passed in checks.items() if not passed]
