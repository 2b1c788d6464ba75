"""Every state of TCP and SCTP, both directions, every combination of flags or kind of chunk: frames and entry.

`tests/data/oracle/tables` has what Linux 6.18 did; where root, this machine's kernel is asked as well.
"""
from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from simcore.replay import Box, same_entry, same_frame
from tests.kernel.rig_up import RIG_MISSING, rig

ORACLE = Path(__file__).parent.parent / "data" / "oracle"
TABLES = ("tcp", "sctp")


def differences(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Rows that our host answers otherwise, by name: what is different."""
    box = Box.load(ORACLE / "box.json")
    different = {}
    for _, group in itertools.groupby(rows, key=lambda row: row["name"].split(" / ")[:2]):
        box.reset()
        seen = []
        for row in group:
            for wire, frame in row["way"]:
                box.inject(wire, bytes.fromhex(frame), 0.0)
            wire, frame = row["probe"]
            want = [(str(n), bytes.fromhex(f)) for n, f in row["out"]]
            seen.append((row, want, box.inject(wire, bytes.fromhex(frame), 0.0)))
        table = box.conntrack()
        for row, want, got in seen:
            port = row["port"]
            entry = next((line for line in table if f"sport={port} " in line or f"dport={port} " in line), None)
            same = sorted(n for n, _ in want) == sorted(n for n, _ in got) and all(
                any(n == m and same_frame(f, g, box.addresses) for m, g in got) for n, f in want)
            if entry is None or row["entry"] is None:
                same = same and entry is row["entry"]
            else:
                same = same and same_entry(row["entry"], entry, row["age"])
            if not same:
                different[row["name"]] = (f"kernel {row['entry']} and {[f.hex() for _, f in want]}, "
                                          f"simcore {entry} and {[f.hex() for _, f in got]}")
    return different


@pytest.mark.parametrize("table", TABLES)
def test_recorded(table: str) -> None:
    rows = [json.loads(line) for line in (ORACLE / "tables" / f"{table}.jsonl").read_text().splitlines()]
    assert len(rows) == {"tcp": 12 * 2 * 64, "sctp": 9 * 2 * 26}[table]
    assert not differences(rows)


@pytest.mark.skipif(bool(RIG_MISSING), reason=RIG_MISSING or "-")
@pytest.mark.parametrize("table", TABLES)
def test_live(table: str) -> None:
    with rig() as real:
        import tables
        cases = tables.TABLES[table]()
        found = differences(tables.record(real, cases))
        # a busy machine lets a second pass between two packets: what differs because of that does not differ again
        assert not found or not differences(tables.record(real, {name: cases[name] for name in found}))
