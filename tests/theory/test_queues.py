"""Queues against theory, with confidence intervals over independent seeds."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from simcore.engine import Environment, Streams
from simcore.net.device import PythonDevice
from simcore.net.link import Link, plug
from simcore.net.qdisc import build
from simcore.study.bench import wan_udp
from simcore.study.statistics import estimate
from simcore.traffic.frames import FrameSink, FrameSource

RATE = 8e6                  # bit/s, so a frame of 1000 bytes takes 1 ms


def agrees(run: Callable[[int], float], theory: float, seeds: int = 12, precision: float = 0.05) -> None:
    """Independent runs give what the theory says."""
    compare([run(seed) for seed in range(seeds)], theory, precision)


def compare(values: Sequence[float], theory: float, precision: float = 0.05) -> None:
    """The theory lies in the interval, and the interval is narrow enough to mean something."""
    measured = estimate(values, 0.999)
    assert measured.half < precision * theory, (measured, theory)
    assert measured.low < theory < measured.high, (measured, theory)


class Station:
    """One link with sources in front of it."""

    def __init__(self, seed: int, **link: Any) -> None:
        self.env, self.streams = Environment(), Streams(seed)
        self.sink = FrameSink(self.env, "sink")
        self.link = Link(self.env, "queue", self.sink, 0, RATE, **link)
        self.sources: list[FrameSource] = []

    def source(self, load: float, until: float, exponential: bool = False, size: float = 1000, **options: Any) -> FrameSource:
        n = len(self.sources)
        s = FrameSource(self.env, f"s{n}", load * RATE / 8 / size, size, self.streams[f"s{n}"], exponential, stop=until, **options)
        plug(s, 0, self.link)
        self.sources.append(s)
        return s

    def run(self) -> Station:
        self.env.run()
        return self


class Redraw(PythonDevice):
    """Forwards each frame with a fresh exponential size."""

    def __init__(self, env: Environment, out: Link, rng: np.random.Generator) -> None:
        super().__init__(env, "redraw", 1)
        plug(self, 0, out)
        self.rng = rng

    def on_frame(self, frame: bytes, port: int) -> None:
        self.transmit(bytes(max(1, round(self.rng.exponential(1000)))), 0)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_mm1(load: float) -> None:
    """Mean time in an M/M/1 system: s / (1 - rho)."""
    def sojourn(seed: int) -> float:
        station = Station(seed, limit=1 << 30)
        station.source(load, 400, exponential=True)
        return float(station.run().sink.delays.mean or 0)
    agrees(sojourn, 1e-3 / (1 - load))


@pytest.mark.parametrize("qdisc", [None, "pfifo", "fq_codel"])
def test_md1(qdisc: str | None) -> None:
    """M/D/1: mean wait rho s / (2 (1 - rho)) (Pollaczek-Khinchine), whoever keeps the queue."""
    def wait(seed: int) -> float:
        streams = Streams(seed)
        spec = {"kind": qdisc, "limit": 1 << 20, **({"target": "10s", "interval": "100s"} if qdisc == "fq_codel" else {})}
        station = Station(seed, limit=1 << 30, qdisc=build(spec, streams["q"]) if qdisc else None)
        station.source(0.7, 300)
        station.run()
        # Little: the time average of the queue is rate x wait
        assert station.link.queue_seconds == pytest.approx(station.link.waited, rel=1e-9)
        assert station.link.busy_seconds == pytest.approx(station.link.bytes * 8 / RATE)
        return station.link.waited / station.link.packets
    agrees(wait, 0.7 * 1e-3 / (2 * 0.3))


def md1k(load: float, places: int) -> tuple[float, float]:
    """Loss and mean wait of M/D/1/K with `places` in the system (the embedded chain, solved)."""
    a = [math.exp(-load) * load**j / math.factorial(j) for j in range(places + 1)]
    n = places                                      # states left behind by a departure: 0 .. K-1
    p = np.zeros((n, n))
    for i in range(n):
        first = max(i, 1) - 1
        for j in range(first, n):
            p[i, j] = a[j - first] if j < n - 1 else 1 - sum(a[:n - 1 - first])
    w, v = np.linalg.eig(p.T)
    d = np.real(v[:, np.argmin(abs(w - 1))])
    d /= d.sum()
    busy = load / (d[0] + load)                     # throughput x service time
    loss = 1 - busy / load
    states = np.append(d * busy / load, loss)       # seen by arrivals, hence by time (PASTA)
    length = float(np.arange(places + 1) @ states)
    return loss, length / (busy * 1000) - 1e-3


def test_md1k_loss_and_wait() -> None:
    """M/D/1/K at 95 % load: share lost, and mean wait of those served."""
    loss, wait = md1k(0.95, 6)

    def both(seed: int) -> tuple[float, float]:
        station = Station(seed, limit=5)            # five wait, one is served
        s = station.source(0.95, 300)
        station.run()
        return station.link.dropped / s.sent, station.link.waited / station.link.packets
    runs = [both(seed) for seed in range(12)]
    for k, theory in ((0, loss), (1, wait)):
        compare([r[k] for r in runs], theory)


def test_priority_queue() -> None:
    """Non-preemptive priorities (Cobham): wait of class k is R / ((1 - s_{k-1}) (1 - s_k))."""
    loads = [0.3, 0.2, 0.3]
    residual = sum(loads) * 1e-3 / 2

    def waits(seed: int) -> list[float]:
        streams = Streams(seed)
        bands = [{"kind": "pfifo", "limit": 1 << 20}] * 3
        filters = [{"class": k, "mark": k + 1} for k in range(3)]
        env = Environment()
        sink = FrameSink(env, "sink", keep_arrivals=True)
        link = Link(env, "queue", sink, 0, RATE, qdisc=build({"kind": "prio", "bands": bands, "filters": filters}, streams["q"]))
        for k, load in enumerate(loads):
            plug(FrameSource(env, f"s{k}", load * 1000, 1000, streams[f"s{k}"], mark=k + 1, stop=300), 0, link)
        env.run()
        assert sink.arrivals is not None
        rows = np.array(sink.arrivals)
        return [float(rows[rows[:, 2] == k + 1, 3].mean()) - 1e-3 for k in range(3)]
    runs = [waits(seed) for seed in range(10)]
    below = 0.0
    for k, load in enumerate(loads):
        theory = residual / ((1 - below) * (1 - below - load))
        below += load
        compare([r[k] for r in runs], theory, 0.08)


def test_tandem_queues() -> None:
    """Jackson: two exponential servers in a row wait as if each were M/M/1 alone, if sizes are drawn anew (Kleinrock)."""
    def sojourn(seed: int) -> float:
        env, streams = Environment(), Streams(seed)
        sink = FrameSink(env, "sink")
        second = Link(env, "second", sink, 0, RATE, limit=1 << 30)
        redraw = Redraw(env, second, streams["sizes"])
        first = Link(env, "first", redraw, 0, RATE, limit=1 << 30)
        plug(FrameSource(env, "s", 600, 1000, streams["s"], True, stop=60), 0, first)
        env.run()
        return float(first.waited / first.packets + second.waited / second.packets)
    agrees(sojourn, 2 * 0.6 * 1e-3 / 0.4, seeds=10, precision=0.12)


def test_token_bucket_departures() -> None:
    """A burst into a token bucket: what the bucket holds leaves at line rate, the rest at the token rate."""
    env, streams = Environment(), Streams(1)
    sink = FrameSink(env, "sink", keep_arrivals=True)
    tbf = build({"kind": "tbf", "rate": "1Mbit", "burst": 10_000, "limit": "1M"}, streams["q"])
    link = Link(env, "queue", sink, 0, 100e6, 0.0, qdisc=tbf)
    plug(FrameSource(env, "s", 1e6, 1000, stop=100.5e-6), 0, link)
    env.run()
    assert sink.arrivals is not None
    times = np.array([t for t, *_ in sink.arrivals])
    line, start = 1000 * 8 / 100e6, 1e-6
    k = np.arange(1, len(times) + 1)
    expected = np.maximum(start + line * k, start + (1000 * k - 10_000) * 8 / 1e6 + line)
    assert len(times) == 100
    assert np.allclose(times, expected, atol=2e-6)


def test_wan_queue_is_md1() -> None:
    """M/D/1 at 90 % load: mean wait rho * s / (2 (1 - rho)) = 180 us (Pollaczek-Khinchine)."""
    waits = [wan_udp(containers=8, duration=20.0, seed=s)["mean_wait_us"] for s in range(8)]
    wait = estimate(waits)
    # the links before the WAN smooth the arrivals a little, so theory is the upper end
    assert wait.half < 15
    assert abs(wait.mean - 180.0) < wait.half + 5.0


def test_load_and_loss_are_accounted_for() -> None:
    row = wan_udp(containers=64, duration=5.0)
    assert abs(row["packets"] - 22500 * 5) < 4 * math.sqrt(22500 * 5)
    assert abs(row["delivered_mbps"] - 180.0) < 2.0
    assert row["conntrack_entries"] == 64
