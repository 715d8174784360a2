"""``fewsteps sweep`` and ``fewsteps drift``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    sweep = commands.add_parser("sweep", help="fill a table of the book; rows that are there are not made again")
    sweep.add_argument("grid", metavar="GRID", help="a name; an unknown one lists those there are")
    sweep.add_argument("--out", type=Path, metavar="FILE", help="of the rows (default: in data/results)")
    sweep.add_argument("--folder", type=Path, metavar="DIR", help="of the checkpoints (default: data/checkpoints)")
    sweep.add_argument("--workers", type=int, metavar="N", help="processes here (default: one per core)")
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, as in tcp://host:8786")
    sweep.add_argument("--retries", type=int, default=0, metavar="N", help="of what failed for no reason of yours")
    sweep.add_argument("--device", default="cpu", metavar="D", help="where images are made (default: cpu)")
    sweep.add_argument("--profile", default="cpu", help="how much: smoke, cpu as printed, or gpu (default: cpu)")
    sweep.add_argument("--only", metavar="TEXT", help="cells whose method, sampler or NFE (nfe=20) this names")
    sweep.add_argument("--compile", action="store_true", help="compile the network first (needs a C++ compiler)")
    sweep.set_defaults(run=run, kept="the rows that were finished are kept, and the same command goes on from there")

    drift = commands.add_parser("drift", help="whether a table that was made again is the one that is shipped")
    drift.add_argument("grid", metavar="GRID", help="a table in data/results")
    drift.add_argument("fresh", type=Path, metavar="FILE", help="the same table, made again")
    drift.add_argument("--only", metavar="TEXT", help="rows of this method, sampler or NFE (nfe=20)")
    drift.set_defaults(run=run_drift, kept="nothing was written")


def run_drift(chosen: argparse.Namespace) -> int:
    """Compare."""
    from fewsteps import results
    from fewsteps.experiments.boards import drift

    said = drift(results.FOLDER / f"{chosen.grid}.json", chosen.fresh, chosen.only)
    print("\n".join(said) if said else f"{chosen.fresh.name} agrees with {chosen.grid} within its intervals.")
    return 1 if said else 0


def run(chosen: argparse.Namespace) -> int:
    """Fill a table."""
    from fewsteps import checkpoints, results
    from fewsteps.errors import ParameterError
    from fewsteps.experiments.cells import Table, fill, keys
    from fewsteps.experiments.engine import engine
    from fewsteps.experiments.grids import grid
    from fewsteps.experiments.sampling import COMPILE
    from fewsteps.files import exclusive
    from fewsteps.parameters import integer

    folder = chosen.folder or checkpoints.FOLDER
    every = cells = grid(chosen.grid, chosen.profile, folder)
    if chosen.profile == "smoke" and chosen.out is None:
        raise ParameterError("--profile smoke needs --out: a few images are no result to keep in data/results.")
    elsewhere = folder.resolve() != checkpoints.FOLDER
    if elsewhere and chosen.out is None:
        raise ParameterError("--folder needs --out: the tables in data/results are of the shipped networks.")
    if chosen.only:
        known = {c.plan.sampler for c in cells} | {f"nfe={c.plan.nfe}" for c in cells} | {c.method for c in cells}
        cells = [c for c in cells if chosen.only in (c.method, c.plan.sampler, f"nfe={c.plan.nfe}")]
        if not cells:
            raise ParameterError(f"--only must name one of {', '.join(sorted(known))}, not {chosen.only!r}.")
    if chosen.compile:
        os.environ[COMPILE] = "inductor"
    usual = os.cpu_count() or 1 if chosen.device == "cpu" else 1
    workers = usual if chosen.workers is None else integer("--workers", chosen.workers, least=1)
    apart = "" if chosen.profile == "cpu" else f"-{chosen.profile}"
    path = chosen.out or results.FOLDER / f"{chosen.grid}{apart}.json"
    with exclusive(path.with_name(f".{path.name}.lock"), "another sweep into this table"):
        told = " --folder DIR" if elsewhere else ""
        table = Table(path, f"fewsteps sweep {chosen.grid} --profile {chosen.profile}{told}")
        if stale := table.keep(keys(every, folder), {"choice", *(c.method for c in every)}):
            print(f"{stale} rows were of other weights, statistics or settings: dropped, to be made again.", flush=True)
        with engine(workers, chosen.scheduler, integer("--retries", chosen.retries, least=0)) as where:
            failed = fill(
                table, cells, engine=where, folder=folder, device=chosen.device,
                say=lambda sentence: print(sentence, flush=True),
            )  # fmt: skip
    print(f"{len(table.rows)} rows in {path.name}; {len(failed)} cells failed.")
    return 1 if failed else 0
