"""Train many small networks beside each other on one GPU, each in a process of its own, and pack what is ready.

    FEWSTEPS_DATA=... PYTHONPATH=lib python tools/gpu_many.py work NAME:STEPS NAME:STEPS[:AFTER] --state /tmp/runs
    FEWSTEPS_DATA=... PYTHONPATH=lib python tools/gpu_many.py pack --state /tmp/runs --out "$OUT"

A small network keeps a GPU a tenth busy and one processor core wholly: sixteen of them share both. They are begun in
the order in which they are named, as many at once as there are cores (``--at-once``). One that names another after a
second colon waits for it, and finds it among the shipped checkpoints then. NAME~1 is NAME trained with the seed 1,
which is not put there. Whoever is stopped goes on from what lies in the state folder. ``pack`` copies the newest
checkpoints into archives of ``--mib`` or less; those that were packed before and have not moved on since are left out,
but with ``--again``.

Processes share a GPU at the same time, and not by turns, only under CUDA's multi-process service
(``nvidia-cuda-mps-control -d``), which is for whoever holds the machine to start.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fewsteps import checkpoints

TOLD = 15.0  # seconds between two lines of a log


class Job(NamedTuple):
    """A network to be trained."""

    name: str
    steps: int
    after: str

    @classmethod
    def named(cls, said: str) -> Job:
        """Of NAME:STEPS or NAME:STEPS:AFTER."""
        name, steps, *after = said.split(":")
        return cls(name, int(steps), after[0] if after else "")


def train_one(name: str, steps: int, state: Path, interval: float) -> int:
    """Train one network in this process."""
    import torch

    from fewsteps.training import Progress, recipe, train

    torch.set_num_threads(1)
    began, spoken = time.monotonic(), [-TOLD]

    def say(progress: Progress) -> None:
        passed = time.monotonic() - began
        if passed - spoken[0] >= TOLD:
            spoken[0] = passed
            print(f"{passed:.0f} s, step {progress.step} of {progress.total}, loss {progress.loss:.4f}", flush=True)

    # Nothing is compiled: that takes a minute of every process, and a derivative of a derivative cannot be. Nor is it
    # computed in half precision, which for networks this small is more casts than it saves (but for what cuDNN does).
    known, _, seed = name.partition("~")
    made = replace(recipe(known), seed=int(seed)) if seed else recipe(known)
    card = train(made, state / name, steps=steps, interval=interval, compiled=False, half=False, say=say)
    print(f"{time.monotonic() - began:.0f} s, done: {card.name}", flush=True)
    return 0


def work(jobs: list[Job], state: Path, at_once: int, interval: float) -> int:
    """Train all, as many at once as asked for; how many failed, those among them that waited for one that did."""
    order = list(jobs)
    names = {job.name for job in jobs}
    if at_once < 1 or any(job.name == job.after for job in jobs) or len(names) < len(jobs):
        raise SystemExit("--at-once must be 1 or more, and every network be named once and wait for another one.")
    running, done, failed = dict[Job, subprocess.Popen](), set[str](), set[str]()
    try:
        while order or running:
            for job, process in list(running.items()):
                if process.poll() is not None:
                    del running[job]
                    (failed if process.returncode else done).add(job.name)
                    if not process.returncode and "~" not in job.name:
                        put(state / job.name, job.name)
                    print(f"{job.name}: {'failed' if process.returncode else 'done'}", flush=True)
            for job in list(order):
                if job.after in failed:
                    order.remove(job)
                    failed.add(job.name)
                elif len(running) < at_once and job.after not in names - done:
                    order.remove(job)
                    running[job] = begun(job, state, interval)
            if order and not running and all(job.after in names - done - failed for job in order):
                raise SystemExit(f"{', '.join(job.name for job in order)} wait for each other.")
            time.sleep(0.5)
    finally:
        for process in running.values():
            process.terminate()
    return len(failed)


def put(folder: Path, name: str) -> None:
    """Among the shipped checkpoints, for those that are trained with it; one that is there already stays."""
    if not (checkpoints.FOLDER / f"{name}.json").exists():
        for suffix in (".safetensors", ".json"):  # the card last: without weights it would count as there
            shutil.copy(folder / f"{name}{suffix}", checkpoints.FOLDER)


def begun(job: Job, state: Path, interval: float) -> subprocess.Popen:
    """A process that trains it, its log beside its state."""
    folder = state / job.name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "out.log", "a", encoding="utf-8") as log:
        command = [sys.executable, __file__, "one", job.name, str(job.steps)]
        return subprocess.Popen(
            [*command, "--state", str(state), "--interval", str(interval)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def pack(state: Path, out: Path, limit: float, files: int, again: bool = False) -> int:
    """Copy newest checkpoints and logs into archives below a size."""
    out.mkdir(parents=True, exist_ok=True)
    remembered = state / "packed.json"
    before: dict[str, str] = json.loads(remembered.read_text()) if remembered.exists() and not again else {}
    held, size, number = None, 0.0, 0
    for card in sorted(state.glob("*/*.json"), key=lambda path: path.stat().st_mtime):
        name, weights = card.parent.name, card.with_suffix(".safetensors")
        log = card.with_name("out.log")
        if card.stem != name.partition("~")[0] or not weights.exists():
            continue
        if "~" in name and ", done" not in log.read_text(encoding="utf-8"):
            continue  # nobody goes on with it elsewhere
        content = {
            path.name: path.read_bytes() for path in (card, weights, card.with_name("log.jsonl"), log) if path.exists()
        }
        told = json.loads(content[card.name])["weights"]["sha256"]
        if before.get(name) == told or hashlib.sha256(content[weights.name]).hexdigest() != told:
            continue  # packed already, or just being written: the next call has it
        takes = sum(map(len, content.values())) / 2**20 + 0.01
        if held is None or size + takes > limit:
            if held is not None:
                held.close()
                held = None
            if number == files:
                print(f"{name} and what comes after it: left for the next call", flush=True)
                break
            number, size = number + 1, 0.0
            held = tarfile.open(out / f"networks-{number}.tar", "w")  # noqa: SIM115 - closed when it is full
        for file, data in content.items():
            entry = tarfile.TarInfo(f"{name}/{file}")
            entry.size = len(data)
            held.addfile(entry, io.BytesIO(data))
        size += takes
        before[name] = told
    if held is not None:
        held.close()
    remembered.write_text(json.dumps(before))
    return 0


def show(state: Path) -> int:
    """The last line of every log."""
    for log in sorted(state.glob("*/out.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        print(f"{log.parent.name}: {lines[-1] if lines else 'has said nothing yet'}")
    return 0


def main() -> int:
    """Do what the first word says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    given = {name: commands.add_parser(name) for name in ("work", "one", "pack", "show")}
    for one in given.values():
        one.add_argument("--state", type=Path, required=True)
    given["work"].add_argument("jobs", nargs="+", type=Job.named, metavar="NAME:STEPS[:AFTER]")
    given["work"].add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    given["one"].add_argument("name")
    given["one"].add_argument("steps", type=int)
    for name in ("work", "one"):
        given[name].add_argument("--interval", type=float, default=60.0, help="seconds between two checkpoints")
    given["pack"].add_argument("--out", type=Path, required=True)
    given["pack"].add_argument("--mib", type=float, default=15.0)
    given["pack"].add_argument("--files", type=int, default=4, help="archives at most")
    given["pack"].add_argument("--again", action="store_true", help="what was packed before as well")
    chosen = parser.parse_args()
    if chosen.command == "work":
        return work(chosen.jobs, chosen.state, chosen.at_once, chosen.interval)
    if chosen.command == "one":
        return train_one(chosen.name, chosen.steps, chosen.state, chosen.interval)
    if chosen.command == "pack":
        return pack(chosen.state, chosen.out, chosen.mib, chosen.files, chosen.again)
    return show(chosen.state)


if __name__ == "__main__":
    sys.exit(main())
