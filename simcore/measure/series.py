"""Quantities over time: a process that looks every so often, and changes nothing."""
from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from natfast.hooks import Netfilter
from simcore.engine import Environment
from simcore.files import write_csv
from simcore.net.link import Link

Row = dict[str, float]


class Sampler:
    """Samples links and a conntrack table.

    Per link: `queue` (frames waiting, the exact mean over the interval), `utilisation` (share of the interval that
    the transmitter was sending) and `dropped` (frames, in the interval; losses of the wire included). Of conntrack:
    entries by protocol and state. Costs one SimPy event and some microseconds per link and sample.

    Parameters
    ----------
    interval : float
        Seconds.
    """

    def __init__(self, env: Environment, interval: float, links: Mapping[str, Link], netfilter: Netfilter | None) -> None:
        self.env, self.interval, self.links, self.netfilter = env, interval, dict(links), netfilter
        self.rows: list[Row] = []
        self._last = {name: (0.0, 0.0, 0) for name in links}
        env.process(self._run())

    def _run(self) -> Generator[Any, Any, None]:
        while True:
            yield self.env.timeout(self.interval)
            row: Row = {"time_s": self.env.now}
            for name, link in self.links.items():
                queue, busy, dropped = link.queue_seconds, link.busy_seconds, link.dropped + link.lost
                q, b, d = self._last[name]
                row[f"{name} queue"] = (queue - q) / self.interval
                row[f"{name} utilisation"] = (busy - b) / self.interval
                row[f"{name} dropped"] = dropped - d
                self._last[name] = (queue, busy, dropped)
            if self.netfilter is not None:
                for state, n in self.netfilter.occupancy(self.env.now).items():
                    row[f"conntrack {state}"] = n
            self.rows.append(row)

    def write(self, path: Path) -> None:
        """A CSV file of the rows."""
        write_csv(path, self.rows, missing=0)
