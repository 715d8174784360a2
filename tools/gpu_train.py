"""Train a recipe on this machine's GPU, measure how well it is used, evaluate, and leave small results.

    FEWSTEPS_DATA=... PYTHONPATH=lib python tools/gpu_train.py cifar10-large --minutes 8 --out "$OUT" --state /tmp/runs

Training goes on from what lies in the state folder. Under --out come the card, a grid of samples, the rows of the
evaluation and ``usage.json``: milliseconds per step, images per second, and the share of the card's bfloat16 peak.
Without a GPU everything runs on the CPU, where only the share is left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fewsteps import checkpoints, data, trained
from fewsteps.data import Images
from fewsteps.experiments import evaluation, gates
from fewsteps.experiments.images import write_grid
from fewsteps.experiments.sampling import sample
from fewsteps.files import write_atomic
from fewsteps.networks import Autoencoder, LatentPrior
from fewsteps.training import Progress, Recipe, recipe, train
from fewsteps.training.loop import begun, shown
from fewsteps.training.team import Team

# Dense bfloat16 products per second, by a part of the card's name; published by the maker.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}


def usage(made: Recipe, images: Images, folder: Path, steps: int) -> dict:
    """Time per step of the compiled loop, and the arithmetic in it as torch counts it."""
    with Team(None) as team:
        run = begun(made, folder, images, team, compiled=None, half=True)
        counter = FlopCounterMode(display=False)
        x0, cond = run.share_of(made.batch)
        with counter:
            run.objective(run.network, x0, cond, run.generator).mean().backward()
        run.optimiser.zero_grad()
        for _ in range(max(3, steps // 10)):
            run.step()
        if team.device.type == "cuda":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(steps):
            run.step()
        if team.device.type == "cuda":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - begin) / steps
        said = {"ms": 1e3 * seconds, "images_per_second": made.batch / seconds, "flop": counter.get_total_flops()}
        if team.device.type == "cuda":
            name = torch.cuda.get_device_name()
            peak = next((value for key, value in PEAKS.items() if key in name), None)
            said |= {"card": name, "gib": torch.cuda.max_memory_allocated() / 2**30}
            if peak:
                said["share_of_peak"] = said["flop"] / seconds / peak
        return said


def main() -> int:
    """Do all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--until", type=int, help="stop at this step, so that networks see equally many images")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--count", type=int, default=gates.COUNT)
    parser.add_argument("--steps", type=int, default=50, help="steps that are timed")
    chosen = parser.parse_args()
    made = recipe(chosen.recipe)
    images = data.load(made.data, "train", made.size)
    seen = shown(made, chosen.state / made.name, images)
    said = usage(made, seen, chosen.state / "usage", chosen.steps)
    print(json.dumps(said), flush=True)
    write_atomic(chosen.out / "usage.json", json.dumps(said, indent=1) + "\n")

    folder, spoken = chosen.state / made.name, [0.0]

    def say(progress: Progress) -> None:
        if progress.seconds - spoken[0] > 20:
            spoken[0] = progress.seconds
            print(f"step {progress.step} of {progress.total}, loss {progress.loss:.4f}", flush=True)

    card = train(made, folder, minutes=chosen.minutes, steps=chosen.until, images=images, say=say)
    shutil.copy(card, chosen.out)
    shutil.copy(card.with_suffix(".safetensors"), chosen.out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = trained.load(made.name, folder, device)
    if isinstance(model.network, Autoencoder):
        some = images.images[:32].to(device)
        with torch.inference_mode():
            back = model.network.decode(model.network.encode(some)[0]).clamp(0, 1)
        write_grid(chosen.out / f"{made.name}.png", torch.cat((some, back)).cpu())
        print(f"mean absolute error of a pixel: {float((back - some).abs().mean()):.4f}")
        return 0
    if isinstance(model.network, LatentPrior):
        return 0  # its vectors are looked at with the generator that they are for
    plan = replace(gates.asked(checkpoints.card(made.name, folder)), count=chosen.count)
    if model.predicts == "ddgan" and model.prior is None:
        plan = replace(plan, nfe=model.steps.steps)  # Gaussian vectors, until there is a prior
    drawn = sample(plan, folder, device=device)
    write_grid(chosen.out / f"{made.name}.png", drawn.images)
    rows = evaluation.evaluate(plan, [drawn], [plan.seed], folder=folder)
    write_atomic(chosen.out / f"{made.name}.rows.json", json.dumps(rows, indent=1) + "\n")
    print(evaluation.table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
