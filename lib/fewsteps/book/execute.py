"""Run the notebooks that need it, several at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from fewsteps import parameters
from fewsteps.allocator import KEPT
from fewsteps.book.project import Project
from fewsteps.errors import ParameterError
from fewsteps.files import digest, digest_file, fresh_directory, read_json, write_atomic


@dataclass(frozen=True)
class Task:
    """A notebook to be run: where it is, where it goes, with what parameters, and the key of all that goes into it."""

    source: Path
    output: Path
    parameters: dict[str, Any]
    key: str

    @property
    def name(self) -> str:
        """The notebook's name without the suffix."""
        return self.source.stem

    @property
    def stamp(self) -> Path:
        """The side file, written last, that makes the output valid."""
        return self.output.with_suffix(".key")

    def is_current(self) -> bool:
        """Whether the output is there, whole, and made from exactly these inputs."""
        stamp = read_json(self.stamp)
        return stamp.get("key") == self.key and stamp.get("output") == digest_file(self.output)


@dataclass(frozen=True)
class Outcome:
    """How a notebook's run ended; ``problem`` is empty when it ended well."""

    task: Task
    seconds: float
    problem: str = ""


def tasks(project: Project, profile: str, names: list[str] | None = None) -> list[Task]:
    """The notebooks of a profile as tasks, all or those named."""
    parameters.profile(profile)
    return [_task(project, profile, source) for source in project.notebooks(names)]


def _task(project: Project, profile: str, source: Path) -> Task:
    parameters = project.parameters(profile, source.stem)
    key = digest(
        source.read_bytes(),
        json.dumps(parameters, sort_keys=True, default=str),
        project.library_digest,
        project.data_digest,
        project.lock_digest,
        f"{sys.version_info[0]}.{sys.version_info[1]}",
    )
    return Task(source, project.executed(profile) / source.name, parameters, key)


def execute(project: Project, profile: str, names: list[str] | None = None, jobs: int | None = None) -> list[Outcome]:
    """Run the notebooks whose inputs have changed; report each as it ends.

    Parameters
    ----------
    project : Project
        Whose notebooks.
    profile : str
        One of :data:`~fewsteps.parameters.PROFILES`.
    names : list of str, optional
        Which notebooks; all if not given.
    jobs : int, optional
        How many at a time; as many as there are cores if not given, and one with the ``gpu`` profile.

    Returns
    -------
    list of Outcome
        Of those that were run, in the order in which they ended. A failed one does not stop the others.
    """
    if jobs is not None and jobs < 1:
        raise ParameterError(f"jobs must be at least 1, not {jobs}.")
    wanted = tasks(project, profile, names)
    _forget_removed(project, profile)
    stale = [task for task in wanted if not task.is_current()]
    if not stale:
        return []
    # What took long last time starts first, so that it does not run alone at the end.
    stale.sort(key=lambda task: -read_json(task.stamp).get("seconds", 0.0))
    jobs = min(len(stale), jobs or (1 if profile == "gpu" else _cores()))
    workplace = fresh_directory(project.executed(profile) / ".work")
    try:
        return _run_all(stale, jobs, workplace)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _forget_removed(project: Project, profile: str) -> None:
    """Remove the outputs of notebooks that are no longer there."""
    kept = {path.stem for path in project.notebooks()}
    for path in project.executed(profile).glob("*.*"):
        if path.suffix in {".ipynb", ".key"} and path.stem not in kept:
            path.unlink()


def _run_all(stale: list[Task], jobs: int, workplace: Path) -> list[Outcome]:
    runs = {task.name: _Run(task, workplace, _environment(jobs, workplace)) for task in stale}
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(stale), disable=None, unit="notebook") as bar:
        futures: dict[Future[Outcome], str] = {pool.submit(run.run): name for name, run in runs.items()}
        try:
            for future in as_completed(futures):
                outcomes.append(future.result())
                running = [run.task.name for run in runs.values() if run.is_running]
                bar.write(_line(outcomes[-1], len(outcomes), len(stale), running), file=sys.stdout)
                sys.stdout.flush()
                bar.update()
        except BaseException:
            for run in runs.values():
                run.stop()
            raise
    return outcomes


class _Run:
    """One worker process, from start to the output in its place."""

    def __init__(self, task: Task, workplace: Path, environment: dict[str, str]) -> None:
        self.task = task
        self.part = workplace / task.source.name
        self.report = workplace / f"{task.name}.report.json"
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.stopped = False

    @property
    def is_running(self) -> bool:
        """Whether the process is there and has not ended."""
        return self.process is not None and self.process.poll() is None

    def run(self) -> Outcome:
        """Start the worker, wait for it, and take over what it made."""
        started = time.monotonic()
        if self.stopped:
            return Outcome(self.task, 0.0, "not run")
        command = [sys.executable, "-m", "fewsteps.book.worker", self.task.source, self.part]
        command += [json.dumps(self.task.parameters), self.report]
        # Nothing is ever written to stdin: that it is closed tells the worker that this process has ended.
        # A session of its own, so that Ctrl-C reaches this process alone, which then stops the workers.
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=self.environment, start_new_session=True, text=True,
        )  # fmt: skip
        assert self.process.stdin and self.process.stdout
        said = self.process.stdout.read()
        code = self.process.wait()
        self.process.stdin.close()
        seconds = time.monotonic() - started
        if code != 0:
            return Outcome(self.task, seconds, self._problem(code, said))
        stamp = {"key": self.task.key, "output": digest_file(self.part), "seconds": round(seconds, 1)}
        self.task.stamp.unlink(missing_ok=True)
        self.part.replace(self.task.output)
        write_atomic(self.task.stamp, json.dumps(stamp))
        return Outcome(self.task, seconds)

    def stop(self) -> None:
        """End the worker, or never start it."""
        self.stopped = True
        if self.process is not None:
            self.process.kill()

    def _problem(self, code: int, said: str) -> str:
        """Which cell failed and how: the notebook, the cell's number and first line, and the traceback."""
        if code == 4:
            return f"{self._path}: {said.strip().splitlines()[-1]}"
        report = read_json(self.report)
        if not report:
            return f"{self._path}: the process that ran it ended with {code}.\n{said.strip()}"
        where = f"{self._path}"
        if report.get("cell"):
            first = next((line for line in report["source"].splitlines() if line.strip()), "")
            where += f", cell {report['cell']}: {first.strip()}"
        return f"{where}\n{report['traceback'].strip()}"

    @property
    def _path(self) -> str:
        return f"notebooks/{self.task.source.name}"


def _environment(jobs: int, workplace: Path) -> dict[str, str]:
    """What the workers see: their share of the cores, and nothing of the user's own IPython and matplotlib settings."""
    threads = str(max(1, _cores() // jobs))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    environment |= dict.fromkeys(names, threads) | KEPT
    # This Python's own kernel, not one of the same name in the user's home.
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    environment["IPYTHONDIR"] = str(workplace / "ipython")
    return environment


def _line(outcome: Outcome, done: int, total: int, running: list[str]) -> str:
    count = f"[{done:{len(str(total))}}/{total}]"
    state = "FAILED " if outcome.problem else ""
    rest = f"   running: {', '.join(running)}" if running else ""
    return f"{count} {outcome.task.name:<28} {state}{outcome.seconds:6.1f} s{rest}"


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
