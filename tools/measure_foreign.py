"""Filters around the shipped pipeline of diffusers' make. Writes ``data/results/foreign_model.json``.

    python tools/measure_foreign.py [BUDGET ...] [--unfiltered]

Every way to sample at equal network calls, as chapter 12 prints it; or, by four times as many images, only those that
need no search. Budgets that are not named keep their rows. Needs MNIST's training images, by which the power is known
that predictions should have.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import torch

from fewsteps import bridge, checkpoints, data, metrics, results
from fewsteps.experiments import foreign, onestep, pixels, prediction, references
from fewsteps.files import write_atomic

RESULT = results.FOLDER / "foreign_model.json"
WHERE = checkpoints.FOLDER.parent / "pipelines" / "mnist-ncsnpp"
BUDGETS, COUNT, MORE, SEEDS = (20, 100), 128, 512, (0, 1, 2)


def main(budgets: list[int], part: str) -> int:
    """Measure, a budget at a time."""
    torch.set_grad_enabled(False)
    found = bridge.pretrained(WHERE)
    size = found.shape[-1]
    power, known = pixels.read("mnist", size).power("dct"), references.read("mnist", size, "mnist-classifier")
    training = data.load("mnist", "train", size).images
    ideal = prediction.ideal_of(found.denoiser, training[onestep.some_of(len(training))].expand(-1, *found.shape))
    extractor = references.feature_network("mnist-classifier")

    def features(images: torch.Tensor) -> torch.Tensor:
        return metrics.features(extractor, images.mean(1, keepdim=True))

    def measured(nfe: int) -> foreign.Compared:
        model, shape = found.denoiser, found.shape
        if part == "unfiltered":
            return foreign.unfiltered(model, shape, nfe, known.test, features, ideal, count=MORE, seeds=SEEDS)
        given = {"count": COUNT, "seeds": SEEDS, "ideal": ideal}
        return foreign.compare(model, shape, nfe, power, known.train, known.test, features, **given)

    for nfe in budgets or BUDGETS:
        said = measured(nfe)
        table = results.read("foreign_model") if RESULT.exists() else {}
        rows = {row["nfe"]: row for row in table.get(part, [])} | {nfe: asdict(said)}
        table |= {"made_by": "python tools/measure_foreign.py", part: [rows[key] for key in sorted(rows)]}
        write_atomic(RESULT, json.dumps(table, ensure_ascii=False) + "\n")
        print(nfe, said.rule, said.searched, said.rows, flush=True)
    return 0


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main([int(word) for word in words if word.isdigit()], "unfiltered" if "--unfiltered" in words else "rows"))
