"""``fewsteps book`` and ``fewsteps serve``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the parser."""
    book = commands.add_parser("book", help="run the notebooks and build the pages")
    book.add_argument("names", nargs="*", metavar="NOTEBOOK", help="run only these (default: all)")
    book.add_argument("--profile", default="cpu", help="how much to compute: smoke, cpu or gpu (default: cpu)")
    book.add_argument("--jobs", type=int, metavar="N", help="notebooks at a time (default: the number of cores)")
    book.add_argument("--no-html", action="store_true", help="run the notebooks only")
    book.add_argument("--output", type=Path, metavar="DIR", help="where _executed and _build go (default: book)")
    book.set_defaults(run=run_book)

    serve = commands.add_parser("serve", help="show the book that was built last, on this machine only")
    serve.add_argument("--port", type=int, default=8000, metavar="N", help="the port to listen on (default: 8000)")
    serve.add_argument("--output", type=Path, metavar="DIR", help="the --output of fewsteps book (default: book)")
    serve.set_defaults(run=run_serve)


def run_book(chosen: argparse.Namespace) -> int:
    """Run the notebooks and build the pages."""
    from fewsteps import parameters
    from fewsteps.book.build import build, publish
    from fewsteps.book.execute import execute, tasks
    from fewsteps.book.project import Project
    from fewsteps.files import exclusive

    profile = parameters.profile(chosen.profile).name
    project = Project.find(Path.cwd(), chosen.output)
    with exclusive(project.lock(profile)):
        started = time.monotonic()
        outcomes = execute(project, profile, chosen.names, chosen.jobs)
        cached = len(project.notebooks(chosen.names)) - len(outcomes)
        _report("notebooks", f"{len(outcomes)} run, {cached} up to date", started)
        failed = [outcome for outcome in outcomes if outcome.problem]
        for outcome in failed:
            print(f"\nFAILED {outcome.problem}", file=sys.stderr)
        if failed:
            print(f"\n{len(failed)} of {len(outcomes)} notebooks failed; no pages were built.", file=sys.stderr)
            return 1
        if chosen.no_html:
            return 0
        started = time.monotonic()
        pages = build(project, profile)
        publish(project, pages)
        old = [task.name for task in tasks(project, profile) if not task.is_current()]
        if old:
            print(f"not run with what they are now: {', '.join(old)}")
        _report("html", f"profile {profile}", started)
    print(f"The book is at {os.path.relpath(pages)}/index.html; make serve opens it at http://127.0.0.1:8000")
    return 0


def _report(label: str, text: str, started: float) -> None:
    print(f"[{time.monotonic() - started:6.1f} s] {label}: {text}", flush=True)


def run_serve(chosen: argparse.Namespace) -> int:
    """Serve what was built."""
    from fewsteps.book.project import Project
    from fewsteps.book.serve import serve

    serve(Project.find(Path.cwd(), chosen.output), chosen.port)
    return 0
