"""(c) Eight bulk flows over workload B's path against recorded runs of ns-3, with the ns-3 program in benchmarks/."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simcore.study.bench import wan_tcp

OURS, THEIRS = 200 * 1448 / 1514, 200 * 1448 / 1502            # Mbit/s of payload: Ethernet's header, and point-to-point's


@pytest.mark.parametrize(("theirs", "congestion", "sysctl"), [
    ("TcpCubic", "cubic", {"tcp_cubic.tcp_friendliness": 0}), ("TcpLinuxReno", "reno", {})])
def test_goodput_loss_and_queue(data: Path, theirs: str, congestion: str, sysctl: dict[str, float | str]) -> None:
    runs = json.loads((data / "ns3_wan.json").read_text())["runs"][theirs]
    rows = [wan_tcp(8, 40.0, seed, congestion=congestion, spread=0.1, uncounted=10.0, sysctl=sysctl) for seed in range(1, 5)]
    goodput, loss, queue = (np.mean([r[key] for r in rows]) for key in ("delivered_mbps", "loss", "mean_queue"))
    assert goodput / OURS == pytest.approx(np.mean([r["goodput_mbps"] for r in runs]) / THEIRS, rel=0.02)
    assert loss == pytest.approx(np.mean([r["loss"] for r in runs]), rel=0.15)
    assert queue == pytest.approx(np.mean([r["mean_queue"] for r in runs]), rel=0.15)
