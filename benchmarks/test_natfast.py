"""pytest-benchmark suite of the NAT core."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.plain_nat import PlainNat
from natfast import ACCEPT, Netfilter, Rules
from natfast.bench import RULES, Traffic, _frames, _run
from natfast.capture import PcapngWriter
from natfast.translate import translate

INTERFACES = {"docker0": ["172.17.0.1/16"], "eth0": ["192.168.1.100/24"]}


def established(flows: int) -> Netfilter:
    nat = Netfilter(Rules.from_iptables_save(RULES), INTERFACES, {"net.netfilter.nf_conntrack_max": max(2 * flows, 65536)})
    numbers = np.arange(flows)
    for stage, way in (("syn", ("docker0", "eth0")), ("synack", ("eth0", "docker0")), ("ack", ("docker0", "eth0"))):
        _run(nat, _frames(numbers, stage, 64), *way, 0.0, 256)
    assert len(nat) == flows
    return nat


@pytest.mark.parametrize("flows", [1, 1000, 65536])
def test_established_packets(benchmark: Any, flows: int) -> None:
    nat = established(flows)
    original = _frames(np.random.default_rng(1).integers(0, flows, 1 << 14), "ack", 64)

    def setup() -> tuple[tuple[Traffic], dict[str, Any]]:
        return (Traffic(original.frames.copy(), original.lengths.copy()),), {}

    benchmark.pedantic(lambda t: _run(nat, t, "docker0", "eth0", 0.001, 256), setup=setup, rounds=5)
    benchmark.extra_info["ns_per_packet"] = benchmark.stats.stats.median * 1e9 / (1 << 14)


def test_new_flows(benchmark: Any) -> None:
    def setup() -> tuple[tuple[Netfilter, Traffic], dict[str, Any]]:
        return (Netfilter(Rules.from_iptables_save(RULES), INTERFACES), _frames(np.arange(1 << 14), "syn", 64)), {}

    benchmark.pedantic(lambda nat, t: _run(nat, t, "docker0", "eth0", 0.0, 256), setup=setup, rounds=3)
    benchmark.extra_info["ns_per_flow"] = benchmark.stats.stats.median * 1e9 / (1 << 14)


def test_single_packet_from_python(benchmark: Any) -> None:
    nat = established(1000)
    frame = bytearray(_frames(np.array([5]), "ack", 64).frames[0].tobytes())
    a, b = nat.interface_number("docker0"), nat.interface_number("eth0")

    def one() -> int:
        copy = bytearray(frame)
        return nat.packet(copy, a, b)

    assert benchmark(one) == ACCEPT


def test_translating_a_capture(benchmark: Any, tmp_path: Path) -> None:
    numbers = np.random.default_rng(1).integers(0, 1000, 1 << 14)
    frames = np.concatenate([_frames(np.arange(1000), "syn", 64).frames, _frames(numbers, "ack", 64).frames])
    with PcapngWriter(tmp_path / "in.pcapng") as writer:
        interface = writer.add_interface("docker0")
        for i, frame in enumerate(frames):
            writer.write(interface, i * 1e-6, frame.tobytes())
    (tmp_path / "box.json").write_text(json.dumps({"interfaces": {name: {"kind": "veth", "addresses": a} for name, a in INTERFACES.items()},
                                                   "rules": "rules.v4"}))
    (tmp_path / "rules.v4").write_text(RULES)
    counts = benchmark(lambda: translate(tmp_path / "in.pcapng", tmp_path / "out.pcapng", tmp_path / "box.json", "docker0", "eth0"))
    assert counts.translated == len(frames)
    benchmark.extra_info["ns_per_frame"] = benchmark.stats.stats.median * 1e9 / len(frames)


def test_plain_python_nat(benchmark: Any) -> None:
    frames = [bytearray(f.tobytes()) for f in _frames(np.random.default_rng(1).integers(0, 1000, 2000), "ack", 64).frames]
    nat = PlainNat()

    def run() -> None:
        for f in frames:
            f[22] = 64
            nat.outward(f)

    benchmark(run)
    benchmark.extra_info["ns_per_packet"] = benchmark.stats.stats.median * 1e9 / 2000
