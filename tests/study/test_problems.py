"""The problems in examples/problems: each shows its effect, and its cure cures."""
from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from natfast import capture
from simcore.docker.compose import load
from simcore.study.scenario import World


def run(root: Path, name: str, cured: bool, duration: float | None = None, pcap: Path | None = None) -> dict[str, Any]:
    directory = root / "examples" / "problems"
    world = World(load(directory / f"{name}.yaml", [directory / f"{name}.cure.yaml"] if cured else []))
    if pcap is not None:
        world.capture(pcap)
    world.run(duration)
    return world.summary()


def test_bufferbloat(root: Path) -> None:
    sick, well = run(root, "bufferbloat", False), run(root, "bufferbloat", True)
    idle = sick["workloads"][1]["rtt_s"][1]
    assert max(r or 9.0 for r in sick["workloads"][1]["rtt_s"][3:]) > 10 * idle
    assert max(well["workloads"][1]["rtt_s"][3:]) < 2 * idle + 0.01
    sent = [s["links"]["host/eth0"]["utilisation"] for s in (sick, well)]
    assert sent[1] > 0.97 * sent[0]                 # and it costs no throughput


def test_mtu_black_hole(root: Path) -> None:
    sick, well = run(root, "mtu-black-hole", False), run(root, "mtu-black-hole", True)
    assert sick["workloads"][0]["requests"][0]["status"] == 200
    assert "total_time_s" not in sick["workloads"][1]
    assert sick["drops"]["router"]["fragmentation needed and DF set"] > 3
    assert well["workloads"][1]["total_time_s"] < 1
    assert well["workloads"][1]["retransmits"] == 0


def test_snat_port_exhaustion(root: Path) -> None:
    sick, well = run(root, "snat-exhaustion", False), run(root, "snat-exhaustion", True)
    assert len([e for e in sick["conntrack"] if "dport=443" in e]) == 64
    assert sick["drops"]["host"]["POSTROUTING"] > 100
    assert sick["workloads"][0]["unanswered"] > 100
    assert "host" not in well["drops"]
    assert well["workloads"][0]["requests_done"] > 2 * sick["workloads"][0]["requests_done"]


def test_time_wait_ports_are_taken_again(root: Path) -> None:
    summary = run(root, "time-wait-reuse", False)
    w = summary["workloads"][0]
    assert w["requests_done"] > 20 * 16
    assert w["failed"] == 0
    assert len(summary["conntrack"]) <= 16


def test_conntrack_table_full(root: Path) -> None:
    sick, well = run(root, "conntrack-full", False), run(root, "conntrack-full", True)
    assert sick["conntrack_stats"]["drop"] > 50
    assert len(sick["conntrack"]) <= 64
    assert sick["workloads"][0]["unanswered"] > 100
    assert well["conntrack_stats"]["drop"] == 0
    assert well["workloads"][0]["requests_done"] > 2 * sick["workloads"][0]["requests_done"]


def test_idle_connection_is_forgotten(root: Path, tmp_path: Path) -> None:
    sick = run(root, "idle-timeout", False, pcap=tmp_path / "a.pcapng")
    assert sick["workloads"][0]["requests_done"] == 0
    resets = [r for r in capture.read(tmp_path / "a.pcapng")
              if r.interface == "host/eth0" and r.frame[23] == 6 and r.frame[47] & 4 and r.frame[26:30] == bytes([192, 168, 1, 100])]
    assert resets
    well = run(root, "idle-timeout", True)
    assert well["workloads"][0]["requests_done"] == 2
    # keepalive in the application does as well
    compose = load(root / "examples" / "problems" / "idle-timeout.yaml")
    compose.x.workloads[0].tcp_keepalive = 30.0
    world = World(compose)
    world.run()
    assert world.summary()["workloads"][0]["requests_done"] == 2


def test_hairpin_and_userland_proxy(root: Path) -> None:
    proxy, hairpin = run(root, "hairpin", False, 1.0), run(root, "hairpin", True, 1.0)
    for summary in (proxy, hairpin):
        assert summary["workloads"][0]["requests"][0]["body_bytes"] == 102400
    assert sum("dport=80 " in e for e in proxy["conntrack"]) == 1       # the proxy's own connection to the container
    assert not any("dport=80 " in e.split("src=")[1] for e in hairpin["conntrack"])
    assert len(hairpin["conntrack"]) == 1


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_invalid_packet_resets_a_healthy_connection(root: Path, engine: str) -> None:
    spec = importlib.util.spec_from_file_location("invalid_reset", root / "examples" / "problems" / "invalid_reset.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    got = {}
    for cure in (False, True):
        world = module.build(None, engine, cure)
        world.run()
        got[cure] = world.summary()["workloads"][0].get("requests", [])
    assert got[True][0]["body_bytes"] == 5_000_000
    assert not got[False] or got[False][0]["body_bytes"] < 5_000_000
