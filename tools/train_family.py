"""Train slim networks beside each other, so that their teacher answers once for all of them.

    FEWSTEPS_DATA=/path/to/copies python tools/train_family.py cifar10-fine --steps 4000 --out runs [lite w wsf ...]

The weights are those of `fewsteps train cifar10-fine-lite`, `cifar10-fine-w` and so on to the same step, whose folders
these are.
Without names all columns of the ablation are trained.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from fewsteps.experiments.slim import COLUMNS
from fewsteps.training import recipe
from fewsteps.training.family import together


def main() -> int:
    """Do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("teacher")
    parser.add_argument("columns", nargs="*", default=list(COLUMNS.values()))
    parser.add_argument("--steps", type=int, required=True, help="in all, those of earlier runs included")
    parser.add_argument("--rate", type=float, help="learning rate (default: the recipes')")
    parser.add_argument("--changed", action="store_true", help="go on although the rate has changed")
    parser.add_argument("--start", type=Path, help="begin with the checkpoints there, where --out has no state")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    made = [recipe(f"{chosen.teacher}-{column}") for column in chosen.columns]
    if chosen.rate is not None:
        made = [replace(one, rate=chosen.rate) for one in made]

    def say(step: int, losses: dict[str, float]) -> None:
        told = ", ".join(f"{name.removeprefix(chosen.teacher)} {loss:.4f}" for name, loss in losses.items())
        print(f"step {step} of {chosen.steps}: {told}", flush=True)

    given = {"steps": chosen.steps, "changed": chosen.changed, "start": chosen.start}
    for card in together(made, chosen.out, **given, say=say):
        print(card)
    return 0


if __name__ == "__main__":
    sys.exit(main())
