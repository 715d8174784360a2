"""Tables made by several processes: the same numbers, whoever made them and whoever died on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from fewsteps.allocator import KEPT
from fewsteps.errors import ParameterError, UserError
from fewsteps.experiments.cells import Cell, Table, fill
from fewsteps.experiments.engine import Cluster, Here, Job, engine
from fewsteps.experiments.sampling import Plan

PLAN = Plan("digits", "ancestral", 6, count=600)
CELLS = [Cell("one", replace(PLAN, seed=seed)) for seed in range(4)]


def rows(path):
    return {row["key"]: row["rows"] for row in json.loads(path.read_text())["rows"]}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone") / "t.json"
    assert fill(Table(path, "x"), CELLS) == []
    return rows(path)


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, each a process of its own, and how to reach them."""
    about = tmp_path / "scheduler.json"
    running = []

    def start(module, *options):
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(about)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        log = (tmp_path / f"{module}{len(running)}.log").open("w")
        running.append(
            subprocess.Popen(
                [*command, "--host", "127.0.0.1", *options], stdout=log, stderr=log, env=environment, cwd=tmp_path
            )
        )
        return running[-1]

    start("dask_scheduler", "--port", "0", "--no-dashboard")
    until = time.monotonic() + 60
    while not about.exists() and time.monotonic() < until:
        time.sleep(0.1)
    workers = [start("dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]
    yield json.loads(about.read_text())["address"], workers
    for process in running:
        process.kill()
        process.wait()


def same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        for mine, theirs in zip(one[key], other[key], strict=True):
            assert mine["value"] == pytest.approx(theirs["value"], rel=1e-4, abs=1e-6), mine["metric"]


def test_a_worker_that_is_killed_changes_nothing(cluster, tmp_path, alone):
    """TDAS-11: two workers, one killed with work in hand; the table is that of one process."""
    address, workers = cluster
    path = tmp_path / "t.json"
    said = []

    def kill_after_the_first(sentence):
        if not said:
            os.kill(workers[0].pid, signal.SIGKILL)
        said.append(sentence)

    with engine(scheduler=address) as where:
        where.client.wait_for_workers(2, timeout=60)
        assert fill(Table(path, "x"), CELLS, engine=where, say=kill_after_the_first) == []
    assert workers[0].wait(10) == -signal.SIGKILL and workers[1].poll() is None
    assert len(said) == 4 and "network calls/s" in said[0] and "left" in said[0]
    same(rows(path), alone)


def test_a_local_cluster_gives_the_same(tmp_path, alone):
    """And what fails is said, with the rest made: a user's error as it is, any other with its name."""
    path = tmp_path / "t.json"
    bad = Cell("bad", replace(PLAN, filt={"kind": "tdas", "lam": -1, "r": 0.1}))
    said = []
    with engine(2) as where:
        assert isinstance(where, Cluster)
        failed = fill(Table(path, "x"), [bad, *CELLS], engine=where, say=said.append)
        assert len(failed) == 1 and "lam must be" in failed[0]
        ends = dict(where.run({"a": Job([], sum), "b": Job([lambda: 1], lambda parts: parts[0] / 0)}))
        assert ends["a"] == 0 and isinstance(ends["b"], ZeroDivisionError)
        # Dask's own setting has a network's memory handed back and asked for again at every call.
        assert (
            dict(where.run({"kept": Job([], lambda parts: {name: os.environ[name] for name in KEPT})}))["kept"] == KEPT
        )
    same(rows(path), alone)


def test_a_job_that_fails_once_is_tried_again(tmp_path):
    mark = tmp_path / "mark"

    def once(parts):
        if not mark.exists():
            mark.touch()
            raise OSError("the disk was away")
        return "made"

    with engine(2, retries=1) as where:
        assert dict(where.run({"a": Job([], once)})) == {"a": "made"}


class TestHere:
    def test_an_error_is_a_result_and_the_next_job_runs(self):
        def refuse(parts):
            raise UserError("no")

        ends = dict(Here().run({"a": Job([], refuse), "b": Job([], lambda parts: 1 / 0), "c": Job([lambda: 2], sum)}))
        assert str(ends["a"]) == "no" and isinstance(ends["b"], ZeroDivisionError) and ends["c"] == 2

    def test_one_worker_needs_no_dask(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with engine(1) as where:
            assert isinstance(where, Here)
        with pytest.raises(ParameterError, match=r"needs Dask: pip install 'fewsteps\[sweep\]', or --workers 1"):
            engine(2).__enter__()

    def test_a_scheduler_that_is_not_there(self, monkeypatch):
        monkeypatch.setattr("fewsteps.experiments.engine.TIMEOUT", 2)
        with socket.socket() as taken:  # bound and not listening: nobody answers
            taken.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(ParameterError, match=r"there is no scheduler at 'tcp://127"):
                engine(scheduler=address).__enter__()

    def test_what_failed_is_tried_again(self):
        left = [2]

        def third_time(parts):
            left[0] -= 1
            if left[0] >= 0:
                raise OSError("away")
            return "made"

        assert dict(Here(retries=2).run({"a": Job([], third_time)})) == {"a": "made"}
