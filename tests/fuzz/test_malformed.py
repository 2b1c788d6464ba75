"""Malformed packets never crash, never read outside the buffer (the debug build checks that), never leak entries."""
from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from simcore.replay import Box

ORACLE = Path(__file__).parent.parent / "data" / "oracle"
CORPUS = [(row["in"], bytes.fromhex(row["frame"])) for case in sorted((ORACLE / "named").glob("*.jsonl"))
          for row in map(json.loads, case.read_text().splitlines())]
CORPUS = [c for c in CORPUS if len(c[1]) < 400]
MUTATIONS = st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=6)


@given(st.lists(st.tuples(st.integers(0, len(CORPUS) - 1), MUTATIONS, st.integers(0, 400), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_mutated_conversations(steps: list[tuple[int, list[tuple[int, int]], int, bool]]) -> None:
    box = Box.load(ORACLE / "box.json")
    box.host.netfilter.set_sysctl("net.netfilter.nf_conntrack_checksum", 0)
    for i, (number, mutations, cut, cut_it) in enumerate(steps):
        name, frame = CORPUS[number]
        data = bytearray(frame)
        for at, value in mutations:
            if at < len(data):
                data[at] = value
        if cut_it:
            del data[max(cut, 1):]
        for out_name, out in box.inject(name, bytes(data), i * 0.01):
            assert out_name in box.wires
            assert 14 <= len(out) <= 1518
    assert len(box.conntrack()) <= len(steps) + 1


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_as_ip(payload: bytes) -> None:
    box = _BOX
    header = bytes.fromhex("0242ac1100010242ac1100020800")
    box.inject("vethc1", header + payload, box.env.now)
    box.inject("vethc1", payload, box.env.now)
    box.conntrack()


_BOX = Box.load(ORACLE / "box.json")
