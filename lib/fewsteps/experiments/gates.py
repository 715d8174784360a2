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
        Fréchet distance to the training images, in multiples of the real-against-real floor.
    confident : float
        Least share of images that the classifier is sure of (above .9).
    as_real : float
        The same in multiples of the share of real test images that it is sure of.
    classes : (float, float)
        Least and largest share of any class, as the classifier sees them.
    precision, recall : float
        Least values.
    """

    floors: float
    confident: float = 0.0
    as_real: float = 0.0
    classes: tuple[float, float] = (0.0, 1.0)
    precision: float = 0.5
    recall: float = 0.3


GATES: dict[str, Gate] = {
    "mnist": Gate(floors=10, confident=0.95, classes=(0.05, 0.15)),
    "fashion": Gate(floors=10, as_real=0.85, classes=(0.03, 0.2)),
    "fashion-vp": Gate(floors=15, as_real=0.85, classes=(0.03, 0.2)),
    "cifar10": Gate(floors=30, classes=(0.03, 0.2)),
    "cifar10-large": Gate(floors=15, as_real=0.7, classes=(0.03, 0.2)),
    "faces": Gate(floors=30),
    "digits": Gate(floors=10, confident=0.9, classes=(0.05, 0.15)),
    "mnist-ncsn": Gate(floors=60, classes=(0.02, 0.3)),
    "mnist-ncsnv2": Gate(floors=60, classes=(0.02, 0.3)),
    "cifar10-ncsn": Gate(floors=100, precision=0.3, recall=0.1),
}


def failures(name: str, measured: Mapping[str, Any]) -> list[str]:
    """What of a card's numbers does not reach its gate; empty if all does.

    Parameters
    ----------
    name : str
        Of a checkpoint that makes images.
    measured : mapping
        What :func:`fewsteps.experiments.evaluation.evaluate` returned.
    """
    gate = GATES.get(name)
    if gate is None:
        return ["it has no gate"]
    if not measured.get("rows"):
        return ["nothing was measured"]
    judged = {row["metric"]: row for row in measured["rows"] if row["extractor"] == measured["rows"][0]["extractor"]}
    distance = measured["rows"][0]
    checks = {
        f"{distance['metric']} {distance['value']:.3g} above {gate.floors:g} floors of {distance['floor']:.3g}": (
            distance["value"] <= gate.floors * distance["floor"]
        ),
        f"precision {judged['precision']['value']:.3f} below {gate.precision:g}": (
            judged["precision"]["value"] >= gate.precision
        ),
        f"recall {judged['recall']['value']:.3f} below {gate.recall:g}": judged["recall"]["value"] >= gate.recall,
    }
    if "confident" in judged:
        sure, shares = judged["confident"], judged["confident"]["classes"]
        least = max(gate.confident, gate.as_real * sure["floor"])
        checks |= {
            f"share classified above .9 {sure['value']:.3f} below {least:.3g}": sure["value"] >= least,
            f"shares of classes {min(shares):.3f} to {max(shares):.3f} outside {gate.classes}": (
                gate.classes[0] <= min(shares) and max(shares) <= gate.classes[1]
            ),
        }
    plan = measured["plan"]
    odd = [key for key, value in PLAN.items() if plan[key] != value] if plan["sampler"] != "langevin" else []
    odd += ["count"] if measured["count"] < PLAN["count"] and "count" not in odd else []
    if odd:
        checks[f"measured with another {', '.join(odd)} than the gate's"] = False
    return [sentence for sentence, passed in checks.items() if not passed]
