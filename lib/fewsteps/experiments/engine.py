"""Where a table's cells are computed: in this process, or by Dask on this machine or on a cluster.

A job is its shards and what is made of them. Shards of all jobs run wherever there is room, each with a seed of its
own, and what is made of them does not depend on who made them. Dask runs again what a lost worker had in hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fewsteps.allocator import KEPT
from fewsteps.errors import ParameterError, UserError

TIMEOUT = 20  # seconds for a scheduler to answer
MISSING = "a sweep with more than one worker needs Dask: pip install 'fewsteps[sweep]', or --workers 1."


@dataclass(frozen=True)
class Job:
    """What a cell takes.

    Attributes
    ----------
    shards : sequence of callables without arguments
        Each returns a part.
    finish : callable
        Of the list of parts.
    """

    shards: Sequence[Callable[[], Any]]
    finish: Callable[[list[Any]], Any]


@runtime_checkable
class Engine(Protocol):
    """Something that carries out jobs."""

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Any]]:
        """The key and the result of every job as it ends; an exception where one was raised."""
        ...


class Here:
    """One job after the other in the process that asks.

    Parameters
    ----------
    retries : int
        How often a job that raised something other than a user's error is tried again.
    """

    def __init__(self, retries: int = 0) -> None:
        self.retries = retries

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Any]]:
        """In the order of the jobs."""
        for key, job in jobs.items():
            result = None
            for _ in range(self.retries + 1):
                try:
                    result = job.finish([shard() for shard in job.shards])
                    break
                except UserError as error:
                    result = error
                    break
                except Exception as error:
                    result = error
            yield key, result


class Cluster:
    """Dask workers.

    Parameters
    ----------
    client : distributed.Client
    retries : int
        How often a job that raised something other than a user's error is tried again.
    """

    def __init__(self, client: Any, retries: int = 0) -> None:
        self.client, self.retries = client, retries

    def run(self, jobs: Mapping[str, Job]) -> Iterator[tuple[str, Any]]:
        """Jobs as they end."""
        from distributed import as_completed

        ends = {}
        for key, job in jobs.items():
            # Not pure: a job that is asked for again, after it failed, is to run again.
            parts = [self.client.submit(shard, pure=False, retries=self.retries) for shard in job.shards]
            ends[self.client.submit(job.finish, parts, pure=False, retries=self.retries)] = key
        for future in as_completed(list(ends)):
            key = ends.pop(future)  # and with the last reference its parts leave the workers
            parts = []
            yield key, future.result() if future.status == "finished" else _said(future)


def _said(future: Any) -> BaseException:
    if future.status == "cancelled":
        return UserError("it was cancelled.")
    error = future.exception()
    if error is None:
        return UserError("it was lost.")
    if type(error).__name__ == "KilledWorker":
        return UserError("every worker that tried it was lost, usually for memory: fewer workers need less.")
    return error


@contextmanager
def engine(workers: int = 1, scheduler: str | None = None, retries: int = 0) -> Iterator[Engine]:
    """Where jobs will run.

    Parameters
    ----------
    workers : int
        Processes on this machine, each with one thread; 1 stays in this one. Without meaning for a scheduler that runs
        elsewhere.
    scheduler : str, optional
        Address of one, as in tcp://host:8786.
    retries : int
        How often what failed for no user's fault is tried again.

    Raises
    ------
    ParameterError
        If Dask is needed and not installed, or there is no scheduler at the address.
    """
    if workers == 1 and scheduler is None:
        yield Here(retries)
        return
    try:
        from dask import config
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ParameterError(MISSING) from error
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=TIMEOUT)
        except (OSError, ValueError, TypeError) as error:
            raise ParameterError(
                f"there is no scheduler at {scheduler!r}: start one with `dask scheduler`, whose first lines say where."
            ) from error
        with client:
            yield Cluster(client, retries)
        return
    # Dask tells the allocator of its workers to hand back what they free above 64 KiB.
    # A worker computes with one thread, so that as many as there are cores do not stand in each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with (
        config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in KEPT.items()}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,  # pyright: ignore[reportArgumentType] - none is wanted
            host="127.0.0.1",
            memory_limit=0,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield Cluster(client, retries)
