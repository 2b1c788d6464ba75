"""Traces of packets: times and sizes, from a capture or a table."""
from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from natfast import capture
from natfast.errors import NatfastError
from simcore.errors import ScenarioError


def load(path: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Times (s, the first is 0) and sizes (bytes on the wire) of a trace.

    A file that ends in `.csv` has lines of time,bytes (a first line of names is skipped); anything else is read as
    pcap or pcapng, IPv4 frames only.

    Raises
    ------
    ScenarioError
        If the file is missing, empty, or a line is not two numbers.
    """
    if not path.exists():
        raise ScenarioError(f"{path}: no such file")
    times: list[float] = []
    sizes: list[int] = []
    if path.suffix == ".csv":
        with path.open(newline="") as f:
            for number, row in enumerate(csv.reader(f), 1):
                try:
                    time, size = float(row[0]), int(row[1])
                except (ValueError, IndexError):
                    if number == 1:
                        continue
                    raise ScenarioError(f"{path}: line {number}: expected time,bytes, found {','.join(row)!r}") from None
                times.append(time)
                sizes.append(size)
    else:
        try:
            for r in capture.read(path):
                if r.frame[12:14] == b"\x08\x00":
                    times.append(r.time)
                    sizes.append(r.length)
        except NatfastError as error:
            raise ScenarioError(str(error)) from None
    if not times:
        raise ScenarioError(f"{path}: holds no packets")
    order = np.argsort(times, kind="stable")
    t = np.array(times)[order]
    return t - t[0], np.array(sizes)[order]
