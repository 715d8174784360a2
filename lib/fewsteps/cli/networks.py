"""``fewsteps train``, ``fewsteps sample``, ``fewsteps evaluate`` and ``fewsteps export``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewsteps.errors import ParameterError

if TYPE_CHECKING:
    from fewsteps.experiments.sampling import Plan
    from fewsteps.training import Progress


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    train = commands.add_parser("train", help="train a network by its recipe, or go on with one")
    train.add_argument("recipe", metavar="RECIPE", help="a name; an unknown one lists those there are")
    train.add_argument("--minutes", type=float, metavar="M", help="training time in all, earlier runs included")
    train.add_argument("--steps", type=int, metavar="N", help="steps in all, earlier runs included")
    train.add_argument("--batch", type=int, metavar="N", help="images per step (default: the recipe's)")
    train.add_argument("--rate", type=float, metavar="R", help="learning rate (default: the recipe's)")
    train.add_argument("--changed", action="store_true", help="go on although the recipe has changed; the card says so")
    train.add_argument("--out", type=Path, metavar="DIR", help="where state and checkpoint go (default: runs/RECIPE)")
    train.add_argument(
        "--start", type=Path, metavar="DIR", help="begin with the checkpoint there, if --out has no state"
    )
    train.add_argument("--interval", type=float, default=180, metavar="S", help="seconds between checkpoints")
    train.add_argument("--device", metavar="D", help="cpu, cuda ... (default: a GPU where there is one)")
    train.set_defaults(run=run_train)

    sample = commands.add_parser("sample", help="images from a checkpoint: a grid (.png) and all of them (.npz)")
    _plan_arguments(sample)
    sample.add_argument("--out", type=Path, default=Path("samples"), metavar="PATH", help="without ending")
    sample.set_defaults(run=run_sample, kept="nothing was written")

    evaluate = commands.add_parser("evaluate", help="measure what a checkpoint and a sampler make")
    _plan_arguments(evaluate)
    evaluate.add_argument("--seeds", type=int, default=1, metavar="N", help="runs, from --seed upwards (default: 1)")
    evaluate.add_argument("--out", type=Path, metavar="FILE", help="write the rows there, as JSON")
    evaluate.add_argument("--gate", action="store_true", help="images as its gate asks for; other options do not count")
    evaluate.add_argument("--record", action="store_true", help="write what was measured into the checkpoint's card")
    evaluate.set_defaults(run=run_evaluate, kept="nothing was written")

    export = commands.add_parser("export", help="checkpoints as ONNX files, for a browser")
    export.add_argument("checkpoint", nargs="+", metavar="CHECKPOINT", help="a name; an unknown one lists all")
    export.add_argument("--folder", type=Path, metavar="DIR", help="of the checkpoint (default: data/checkpoints)")
    export.add_argument("--out", type=Path, required=True, metavar="FILE", help="or a folder, where the file is named")
    export.add_argument("--part", default="sampler", help="sampler, or encoder of a progressive GAN (default: sampler)")
    export.set_defaults(run=run_export, kept="nothing was written")


def _plan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a name; an unknown one lists those there are")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="of the checkpoint (default: data/checkpoints)")
    parser.add_argument("--sampler", default="dpmpp_2m", help="an unknown one lists those there are")
    parser.add_argument("--nfe", type=int, default=50, metavar="N", help="network calls per image (default: 50)")
    parser.add_argument("--grid", default="karras", help="karras, geometric or uniform (default: karras)")
    parser.add_argument("--start", default="prior", help="prior, or uniform as NCSN begins (default: prior)")
    parser.add_argument("--filter", metavar="KIND:K=V,...", help="scalar:lam=0.95, tdas:lam=0.9,r=0.3 or pds:...")
    parser.add_argument("--labels", default="any", help="any, each, or a class (default: any)")
    parser.add_argument("--set", action="append", default=[], metavar="K=V", help="a parameter of the sampler")
    parser.add_argument("--count", type=int, default=256, metavar="N", help="images (default: 256)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--batch", type=int, default=256, metavar="N", help="images per network call (default: 256)")
    parser.add_argument("--half", action="store_true", help="the network in bfloat16: half the time, nearly the same")
    parser.add_argument("--prediction", default="as it is", help="as it is, by frequency or scaled (default: as it is)")
    parser.add_argument("--guidance", type=float, default=1.0, metavar="W", help="of a class; 1 is none (default: 1)")
    parser.add_argument("--device", default="cpu", metavar="D")


def run_train(chosen: argparse.Namespace) -> int:
    """Train."""
    from dataclasses import replace

    from fewsteps.files import exclusive
    from fewsteps.parameters import integer, number
    from fewsteps.training import recipe, train

    made = recipe(chosen.recipe)
    if chosen.batch is not None:
        made = replace(made, batch=integer("--batch", chosen.batch, least=1))
    if chosen.rate is not None:
        made = replace(made, rate=number("--rate", chosen.rate, above=0))
    folder = chosen.out or Path("runs") / made.name
    first = os.environ.get("RANK", "0") == "0"  # of several processes one holds the folder and speaks
    lock = exclusive(folder / ".lock", "another training in this folder") if first else nullcontext()
    with lock, _training_bar(made.name) as say:
        card = train(
            made,
            folder,
            minutes=chosen.minutes,
            steps=chosen.steps,
            device=chosen.device,
            interval=chosen.interval,
            changed=chosen.changed,
            start=chosen.start,
            say=say if first else None,
            kept=_looked_at(made.name, folder) if first and made.network["kind"] == "ddgan" else None,
        )
    if first:
        print(f"The checkpoint is at {card.with_suffix('.safetensors')}; fewsteps sample {made.name} --folder {folder}")
    return 0


def _looked_at(name: str, folder: Path) -> Callable[[int], None]:
    """Writes a grid of samples beside every checkpoint: the losses of a GAN do not say whether it works."""
    from fewsteps import trained
    from fewsteps.experiments.images import write_grid
    from fewsteps.experiments.sampling import Plan, draw

    def look(step: int) -> None:
        model = trained.load(name, folder)
        plan = Plan(name, "ddgan", nfe=model.steps.steps, count=64)
        write_grid(folder / "grids" / f"{step:07d}.png", draw(model, plan).images)

    return look


def run_sample(chosen: argparse.Namespace) -> int:
    """Sample."""
    from fewsteps.experiments.images import write_grid, write_images

    plan = _plan(chosen)
    drawn = _sampled(chosen, plan)
    write_images(chosen.out.with_name(f"{chosen.out.name}.npz"), drawn, plan)
    write_grid(chosen.out.with_name(f"{chosen.out.name}.png"), drawn.images)
    print(f"{len(drawn.images)} images at {drawn.nfe} NFE: {chosen.out}.npz, and a grid in {chosen.out}.png")
    return 0


def run_evaluate(chosen: argparse.Namespace) -> int:
    """Evaluate."""
    from dataclasses import replace

    from fewsteps import checkpoints
    from fewsteps.experiments import gates
    from fewsteps.experiments.evaluation import evaluate, table
    from fewsteps.files import write_atomic
    from fewsteps.parameters import integer

    card = checkpoints.card(chosen.checkpoint, _folder(chosen))
    plan = gates.asked(card) if chosen.gate else _plan(chosen)
    asked = [replace(gates.asked(card), seed=plan.seed), replace(gates.asked(card), seed=plan.seed, labels="any")]
    if chosen.record and (plan not in asked or chosen.seeds > 1):
        raise ParameterError("--record keeps what the gate asks for, with the classes or without: use it with --gate.")
    seeds = range(plan.seed, plan.seed + integer("--seeds", chosen.seeds, least=1))
    drawn = [_sampled(chosen, replace(plan, seed=seed)) for seed in seeds]
    said = evaluate(plan, drawn, list(seeds), folder=_folder(chosen))
    print(table(said))
    if chosen.out is not None:
        write_atomic(chosen.out, json.dumps(said, indent=1) + "\n")
    if chosen.record:
        untold = plan.labels == "any" and card["network"].get("classes")
        checkpoints.record(plan.checkpoint, _folder(chosen), {"without_class" if untold else "measured": said})
    return 0


def run_export(chosen: argparse.Namespace) -> int:
    """Export."""
    from fewsteps import export

    if len(chosen.checkpoint) > 1 and not chosen.out.is_dir():
        raise ParameterError(f"--out must be a folder that is there, for several checkpoints, not {str(chosen.out)!r}.")
    for name in chosen.checkpoint:
        path = export.write(name, chosen.out, _folder(chosen), chosen.part)
        print(f"{name} is in {path}, {path.stat().st_size / 1e6:.1f} MB", flush=True)
    return 0


def _folder(chosen: argparse.Namespace) -> Path:
    from fewsteps.checkpoints import FOLDER

    return chosen.folder or FOLDER


def _plan(chosen: argparse.Namespace) -> Plan:
    from fewsteps.experiments.sampling import Plan

    labels = int(chosen.labels) if chosen.labels.lstrip("-").isdigit() else chosen.labels
    kind, _, given = str(chosen.filter or "").partition(":")
    if chosen.filter is not None and not kind:
        raise ParameterError(f"--filter must begin with a kind, as in scalar:lam=0.95, not {chosen.filter!r}.")
    return Plan(
        checkpoint=chosen.checkpoint,
        sampler=chosen.sampler,
        nfe=chosen.nfe,
        grid=chosen.grid,
        start=chosen.start,
        filt={"kind": kind, **_pairs("--filter", re.split(r",(?![^\[]*\])", given) if given else [])} if kind else None,
        labels=labels,
        count=chosen.count,
        seed=chosen.seed,
        named=_pairs("--set", chosen.set),
        half=chosen.half,
        prediction=chosen.prediction,
        guidance=chosen.guidance,
    )


def _pairs(option: str, given: list[str]) -> dict[str, Any]:
    pairs = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise ParameterError(f"{option} must hold NAME=VALUE, not {pair!r}.")
        try:
            pairs[key] = json.loads(value)
        except ValueError:
            pairs[key] = value
    return pairs


def _sampled(chosen: argparse.Namespace, plan: Plan) -> Any:
    from fewsteps.experiments.sampling import sample

    with _bar(plan.count, f"{plan.checkpoint}, seed {plan.seed}", "image") as bar:
        return sample(
            plan, _folder(chosen), workers=chosen.workers, batch=chosen.batch, device=chosen.device, say=bar.update
        )


@contextmanager
def _bar(total: float, what: str, unit: str) -> Iterator[Any]:
    """A progress bar, which says something every half minute only where it does not write to a terminal."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(total=total, desc=what, unit=unit, mininterval=0.5 if terminal else 30, dynamic_ncols=terminal) as bar:
        yield bar


@contextmanager
def _training_bar(name: str) -> Iterator[Any]:
    """Loss, images per second and the time that is left."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(desc=name, unit="step", mininterval=0.5 if terminal else 30, dynamic_ncols=terminal) as bar:
        before = (0, 0.0)

        def say(progress: Progress) -> None:
            nonlocal before
            pace = (progress.images - before[0]) / max(progress.seconds - before[1], 1e-9)
            before = (progress.images, progress.seconds)
            bar.total = progress.total
            bar.set_postfix_str(f"loss {progress.loss:.4f}, {pace:.0f} images/s", refresh=False)
            bar.update(progress.step - bar.n)

        yield say
