"""Many runs at once, on Dask: a cluster of this machine's cores, or a scheduler that is there."""
from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from simcore.errors import ScenarioError
from simcore.study.metrics import headlines, metrics
from simcore.study.source import Source, make_world

_one_at_a_time = threading.Lock()
"""Worlds of one process share their frames' pool and numbers: a worker with several threads runs one at a time."""


@dataclass(frozen=True)
class Task:
    """One run to make."""

    source: Source
    seed: int
    duration: float | None = None
    engine: str = "compiled"


@dataclass(frozen=True)
class Run:
    """What one run came to.

    Attributes
    ----------
    metrics : dict
        `simcore.study.metrics.metrics`.
    titles : dict
        Its headlines.
    findings : list of dict
    """

    metrics: dict[str, float]
    titles: dict[str, str]
    findings: list[dict[str, Any]]


def make(task: Task) -> Run:
    """Make the world, run it, and keep its numbers."""
    with _one_at_a_time:
        world = make_world(task.source, task.seed, task.engine)
        world.run(task.duration)
        summary = world.summary()
    return Run(metrics(summary), headlines(summary), summary["findings"])


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started meanwhile never hear Ctrl-C, which a terminal tells to all: the one that started them ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield                           # only the main thread may choose
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes that are started meanwhile do not run the caller's script again to import it: nothing that they do is in there."""
    main = sys.modules["__main__"]
    before: dict[str, Any] = {name: main.__dict__[name] for name in ("__file__", "__spec__") if name in main.__dict__}
    main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(before)


class Farm:
    """Where runs are made; a context manager.

    Parameters
    ----------
    scheduler : str, optional
        Address of a Dask scheduler, as tcp://10.0.0.5:8786, whose workers have this package; else processes of this machine.
    workers : int, optional
        Processes; one a core if not given.
    most : int, optional
        Runs at one time that there will be; no more processes are started.

    Raises
    ------
    ScenarioError
        If Dask is not installed, or nobody answers at `scheduler`.
    """

    def __init__(self, scheduler: str | None = None, workers: int | None = None, most: int | None = None) -> None:
        try:
            self.dask: Any = importlib.import_module("dask.distributed")
        except ImportError:
            raise ScenarioError("many runs need Dask: pip install 'simcore-natfast[study]'") from None
        self.cluster: Any = None
        if scheduler is None:
            cores = workers or len(os.sched_getaffinity(0))
            with _deaf(), _without_main():
                self.cluster = self.dask.LocalCluster(n_workers=min(cores, most or cores), threads_per_worker=1, memory_limit=0,
                                                      dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL)
        try:
            self.client: Any = self.dask.Client(self.cluster or scheduler, timeout=5)
        except (OSError, ValueError) as error:
            raise ScenarioError(f"--scheduler {scheduler}: {error}".splitlines()[0]) from None

    def __enter__(self) -> Farm:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()

    def run(self, tasks: Sequence[Task], done: Callable[[int, Run], None]) -> None:
        """Make all of them; `done(which, run)` is called as each is over, in whatever order that is.

        Raises
        ------
        ScenarioError
            What a task raises; the others are given up then, as for Ctrl-C.
        """
        futures = [self.client.submit(make, task, pure=False) for task in tasks]
        number = {future.key: i for i, future in enumerate(futures)}
        try:
            for future, run in self.dask.as_completed(futures, with_results=True):
                done(number[future.key], run)
        except BaseException:
            self.client.cancel(futures)
            raise
