"""Queues against theory, with confidence intervals over independent seeds."""
from __future__ import annotations

import math

import numpy as np

from simcore.study.bench import wan_udp


def test_wan_queue_is_md1() -> None:
    """M/D/1 at 90 % load: mean wait rho * s / (2 (1 - rho)) = 180 us (Pollaczek-Khinchine)."""
    waits = [wan_udp(containers=8, duration=20.0, seed=s)["mean_wait_us"] for s in range(8)]
    mean, half = np.mean(waits), 2.365 * np.std(waits, ddof=1) / math.sqrt(len(waits))
    # the links before the WAN smooth the arrivals a little, so theory is the upper end
    assert half < 15
    assert abs(mean - 180.0) < half + 5.0


def test_load_and_loss_are_accounted_for() -> None:
    row = wan_udp(containers=64, duration=5.0)
    assert abs(row["packets"] - 22500 * 5) < 4 * math.sqrt(22500 * 5)
    assert abs(row["delivered_mbps"] - 180.0) < 2.0
    assert row["conntrack_entries"] == 64
