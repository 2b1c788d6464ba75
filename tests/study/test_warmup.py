"""A run's beginning left out: what is counted before and after makes the whole, and means are those of the rest."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simcore.docker.compose import load
from simcore.errors import ScenarioError
from simcore.study.scenario import World


def write(path: Path, warmup: float, duration: float) -> Path:
    path.write_text(json.dumps({
        "services": {"a": {}, "b": {}}, "x-simcore": {
            "duration": duration, "warmup": warmup, "servers": {"far": {"address": "93.184.216.34"}},
            "links": {"host": {"rate": "4Mbit", "latency": "1ms", "queue": 20}}, "host": {"cpu": {"cores": 2}},
            "workloads": [
                {"kind": "udp", "from": "a", "to": "far", "port": 9, "rate": 400, "stop": duration},
                {"kind": "load", "from": "b", "to": "far", "port": 80, "users": 3, "think": {"exponential": "50ms"}, "stop": duration},
                {"kind": "bulk", "from": "b", "to": "far", "port": 9000, "stop": duration, "congestion": "reno"},
                {"kind": "ping", "from": "a", "to": "far", "count": 100, "interval": "100ms"},
                {"kind": "udp", "from": "a", "to": "172.17.0.99", "served-by": "b", "port": 9, "rate": 50, "stop": duration}]}}))
    return path


def run(path: Path) -> dict[str, Any]:
    world = World(load(path))
    world.run()
    return world.summary()


def test_before_and_after_make_the_whole(tmp_path: Path) -> None:
    whole, before, after = (run(write(tmp_path / "f.yaml", w, d)) for w, d in ((0, 10), (0, 4), (4, 10)))
    assert (after["simulated_s"], after["measured_s"]) == (10.0, 6.0)

    def counts(s: dict[str, Any]) -> dict[str, float]:
        datagrams, requests, _, pings, _ = s["workloads"]
        return {**{f"{name} {k}": link[k] for name, link in s["links"].items() for k in ("packets", "bytes", "dropped")},
                **{f"{name} {k}": n for name, dev in s["interfaces"].items() for k, n in dev.items()},
                **{f"conntrack {k}": s["conntrack_stats"][k] for k in ("found", "insert", "rules_walked")},
                "sent": datagrams["sent"], "received": datagrams["received"], "requests": requests["requests_done"],
                "answers": requests["response_s"]["count"], "pings": len(pings["rtt_s"]),
                "unreachable": s["drops"]["a"]["neighbour unreachable"], "cores": sum(c["packets"] for c in s["cpu"]["cores"])}
    for key, n in counts(whole).items():
        assert n == counts(before)[key] + counts(after)[key], key
    assert min(counts(after)[key] for key in ("sent", "received", "requests", "pings", "unreachable", "cores", "conntrack found")) > 10
    link = "host/eth0"
    assert whole["links"][link]["dropped"] == before["links"][link]["dropped"] + after["links"][link]["dropped"] > 0
    assert whole["links"][link]["utilisation"] == pytest.approx(
        0.4 * before["links"][link]["utilisation"] + 0.6 * after["links"][link]["utilisation"])
    for i, key in ((1, "goodput_bps"), (2, "goodput_bps"), (1, "requests_per_s")):
        values = [s["workloads"][i][key] for s in (whole, before, after)]
        assert values[0] == pytest.approx(0.4 * values[1] + 0.6 * values[2], rel=1e-9)


@pytest.mark.parametrize(("warmup", "duration"), [(10, 10), (11, 10)])
def test_something_must_be_left(tmp_path: Path, warmup: float, duration: float) -> None:
    message = re.escape(f"x-simcore.warmup: {warmup} s leave nothing of 10 s to measure")
    with pytest.raises(ScenarioError, match=message):
        load(write(tmp_path / "f.yaml", warmup, duration))
    with pytest.raises(ScenarioError, match=message):
        World(load(write(tmp_path / "f.yaml", warmup, 20))).run(10.0)
