"""One host's netfilter on several threads: every connection belongs to one worker, and no two share anything.

A connection's worker follows from its endpoint outside, which no translation changes: packets both ways and ICMP
errors about them arrive where their entry is, without a lock. Connections to one outside endpoint share a worker, so
their translated ports cannot collide with another worker's. What differs from a single `Netfilter`: which random ports
are drawn; a source's mapping is reused only towards destinations of the same worker; traffic to one single endpoint is
one worker's.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from natfast.hooks import STOLEN, Netfilter
from natfast.rules import Rules
from natfast.team import Team


class Shards:
    """Several `Netfilter` behind one `forward`.

    Parameters
    ----------
    workers : int
        Threads, 1 to 64.
    rules, interfaces, sysctl, seed
        As of `Netfilter`; `nf_conntrack_max` is divided among the workers.
    outside : iterable of str
        Interfaces that lead to the world; the others' addresses are what is translated.

    Raises
    ------
    ValueError
        If `workers` is out of range.
    """

    def __init__(self, workers: int, rules: Rules | None = None, interfaces: Mapping[str, list[str]] | None = None,
                 sysctl: Mapping[str, Any] | None = None, seed: int = 0, outside: Iterable[str] = ("eth0",)) -> None:
        if not 1 <= workers <= 64:
            raise ValueError(f"workers: expected 1 to 64, got {workers}")
        settings = dict(sysctl or {})
        limit = "net.netfilter.nf_conntrack_max"
        if settings.get(limit):
            settings[limit] = -(-int(settings[limit]) // workers)
        self.outside = frozenset(outside)
        self.workers = [Netfilter(rules, interfaces, settings, seed * 64 + i) for i in range(workers)]
        self._team: Team | None = Team(self.workers, int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))

    def __enter__(self) -> Shards:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; what is in the tables stays, but nothing is forwarded any more."""
        self._team = None

    @property
    def team(self) -> Team:
        """The threads.

        Raises
        ------
        RuntimeError
            If they have been ended.
        """
        if self._team is None:
            raise RuntimeError("the threads have been ended by close()")
        return self._team

    def owners(self, frames: NDArray[np.uint8], lengths: NDArray[np.uint32], iif: str, oif: str) -> NDArray[np.uint8]:
        """The worker of each frame."""
        return self.team.owners(frames, lengths, iif in self.outside, oif in self.outside)

    def forward(self, frames: NDArray[np.uint8], lengths: NDArray[np.uint32], iif: str, oif: str, now: float = 0.0) -> NDArray[np.uint8]:
        """`Netfilter.forward`, each worker's frames on its thread; frames of one connection stay in order."""
        verdicts = self.team.forward(frames, lengths, iif, oif, now, iif in self.outside, oif in self.outside)
        held = np.flatnonzero(verdicts == STOLEN)
        for row, whose in zip(held, self.owners(frames[held], lengths[held], iif, oif) if len(held) else (), strict=True):
            self._hold(self.workers[whose], frames[row, :lengths[row]], iif, oif, now)
        return verdicts

    @staticmethod
    def _hold(nat: Netfilter, fragment: NDArray[np.uint8], iif: str, oif: str, now: float) -> None:
        nat.hold(bytes(fragment), now, nat.interface_number(iif), nat.interface_number(oif))

    def forward_queues(self, queues: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint32]]], iif: str, oif: str,
                       now: float = 0.0) -> list[NDArray[np.uint8]]:
        """`forward` where something else has sorted the frames: one (frames, lengths) for each worker, as `owners` says.

        A network card with a queue for each core does that (RSS); then nothing is left that the workers share.

        Raises
        ------
        ValueError
            If there are not as many queues as workers.
        """
        verdicts = self.team.forward_queues(queues, iif, oif, now)
        for nat, (frames, lengths), verdict in zip(self.workers, queues, verdicts, strict=True):
            for row in np.flatnonzero(verdict == STOLEN):
                self._hold(nat, frames[row, :lengths[row]], iif, oif, now)
        return verdicts

    def take_reassembled(self) -> list[tuple[bytes, int, int, tuple[int, ...]]]:
        """Datagrams completed since the last call, as `Netfilter.take_reassembled`."""
        return [whole for nat in self.workers for whole in nat.take_reassembled()]

    def conntrack(self, now: float | None = None) -> list[str]:
        """All tables as one, sorted by tuple."""
        return sorted((line for nat in self.workers for line in nat.conntrack(now)), key=lambda line: line.split(" src=", 1)[1])

    def expire(self, now: float) -> int:
        """Delete every expired entry; returns how many."""
        return self.team.expire(now)

    def delete_conntrack(self, *args: Any, **kwargs: Any) -> int:
        """`Netfilter.delete_conntrack` of all workers."""
        return self.team.delete_conntrack(*args, **kwargs)

    @property
    def stats(self) -> dict[str, int]:
        """The workers' counters, added up."""
        total: dict[str, int] = {}
        for nat in self.workers:
            for name, value in nat.stats.items():
                total[name] = total.get(name, 0) + value
        return total

    def __len__(self) -> int:
        return sum(map(len, self.workers))
