"""Links: impairments as netem's, changes and failures at run time."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from simcore.engine import Environment, Streams
from simcore.engine.frame import live_frames
from simcore.net.device import PythonDevice
from simcore.net.link import Link, plug, wire
from simcore.net.netem import Netem
from simcore.net.probe import Collector
from simcore.traffic.frames import FrameSink, FrameSource


def through(frames: int, spacing: float = 1e-3, latency: float = 0.05, **netem: Any) -> tuple[FrameSink, Link]:
    env, streams = Environment(), Streams(4)
    sink = FrameSink(env, "sink", keep_arrivals=True)
    link = Link(env, "wire", sink, 0, 0.0, latency, netem=Netem(streams["netem"], **netem))
    plug(FrameSource(env, "s", 1 / spacing, 200, stop=(frames + 0.5) * spacing), 0, link)
    env.run()
    return sink, link


def test_independent_loss() -> None:
    sink, link = through(40_000, loss=0.03)
    assert link.lost / 40_000 == pytest.approx(0.03, abs=4 * math.sqrt(0.03 * 0.97 / 40_000))
    assert sink.packets + link.lost == 40_000


def test_gilbert_elliott() -> None:
    """Loss p / (p + r) of the time bad; a burst lasts 1 / r frames on average."""
    env, streams = Environment(), Streams(4)
    sink = FrameSink(env, "sink", keep_arrivals=True)
    link = Link(env, "wire", sink, 0, 0.0, 0.0, netem=Netem(streams["netem"], loss={"p": 0.01, "r": 0.2}))
    plug(FrameSource(env, "s", 1000, 200, stop=200), 0, link)
    env.run()
    assert sink.arrivals is not None
    got = np.array([round(t * 1000) for t, *_ in sink.arrivals])
    gaps = np.diff(got) - 1
    bursts = gaps[gaps > 0]
    assert link.lost / (link.lost + sink.packets) == pytest.approx(0.01 / 0.21, rel=0.1)
    assert bursts.mean() == pytest.approx(5.0, rel=0.1)


@pytest.mark.parametrize(("distribution", "deviation"), [("uniform", 0.01 / math.sqrt(3)), ("normal", 0.01)])
def test_jitter(distribution: str, deviation: float) -> None:
    sink, _ = through(20_000, jitter=0.01, distribution=distribution)
    assert sink.arrivals is not None
    delays = np.array([d for *_, d in sink.arrivals])
    assert delays.mean() == pytest.approx(0.05, rel=0.01)
    assert delays.std() == pytest.approx(deviation, rel=0.02)
    assert (np.diff([t for t, *_ in sink.arrivals]) >= 0).all()
    assert sink.packets == 20_000


def test_duplicates_and_reordering() -> None:
    sink, _ = through(20_000, duplicate=0.1)
    assert sink.packets / 20_000 == pytest.approx(1.1, abs=0.01)
    sink, _ = through(20_000, reorder=0.25, gap=5)
    assert sink.arrivals is not None
    early = np.mean([d < 0.01 for *_, d in sink.arrivals])
    # each fifth frame may, then with probability 1/4: a mean of 4 + 4 frames from one to the next
    assert early == pytest.approx(1 / 8, rel=0.05)


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_corruption_flips_one_bit_and_ip_or_udp_notices(engine: str) -> None:
    env, streams = Environment(engine=engine), Streams(4)
    sink = Collector(env, "sink", 1)
    link = Link(env, "wire", sink, 0, netem=Netem(streams["netem"], corrupt=1.0))
    plug(FrameSource(env, "s", 100, 100, stop=2), 0, link)
    env.run()
    sent = {f for _, f in sink.frames}
    plain = Collector(env, "plain", 1)
    env2 = Environment()
    plain = Collector(env2, "plain", 1)
    other = Link(env2, "wire", plain, 0)
    plug(FrameSource(env2, "s", 100, 100, stop=0.015), 0, other)
    env2.run()
    original = plain.frames[0][1]
    assert len(sent) > 100
    for frame in sent:
        assert sum((a ^ b).bit_count() for a, b in zip(frame, original, strict=True)) == 1


class Talker(PythonDevice):
    def on_frame(self, frame: bytes, port: int) -> None: ...


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_a_new_rate_counts_for_what_waits(engine: str) -> None:
    env = Environment(engine=engine)
    a, sink = Talker(env, "a", 1), FrameSink(env, "sink", keep_arrivals=True)
    link = Link(env, "wire", sink, 0, 8000.0, 0.5)
    plug(a, 0, link)
    for _ in range(4):
        a.transmit(bytes(1000), 0)                  # one second each

    def operator(env: Environment) -> Any:
        yield env.timeout(1.5)
        link.set(rate=80_000.0)
        yield env.timeout(0.1)
        assert (link.queued, link.rate) == (2, 80_000.0)

    env.process(operator(env))
    env.run()
    assert sink.arrivals is not None
    assert [t for t, *_ in sink.arrivals] == pytest.approx([1.5, 2.5, 2.6, 2.7])
    assert link.waited == pytest.approx(0 + 1 + 2 + 2.1)
    assert link.busy_seconds == pytest.approx(2.2)


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
@pytest.mark.parametrize("netem", [None, {"jitter": 0.2}])
def test_a_cut_wire_loses_what_is_on_it(engine: str, netem: dict[str, Any] | None) -> None:
    env = Environment(engine=engine)
    before = live_frames()
    a, sink = Talker(env, "a", 1), FrameSink(env, "sink")
    link = Link(env, "wire", sink, 0, 8000.0, 0.5, netem=Netem(Streams(0)["n"], **netem) if netem else None)
    plug(a, 0, link)

    def operator(env: Environment) -> Any:
        for _ in range(4):
            a.transmit(bytes(1000), 0)
        yield env.timeout(2.2)                      # one arrived, one on the wire, one being sent, one waits
        link.down()
        a.transmit(bytes(1000), 0)
        yield env.timeout(1)
        assert not link.up
        link.up_again()
        a.transmit(bytes(1000), 0)

    env.process(operator(env))
    env.run()
    assert (sink.packets, link.lost) == (2, 4)
    assert link.busy_seconds == pytest.approx(2.2 + 1)
    assert live_frames() == before


def test_latency_shortened_does_not_reorder() -> None:
    env = Environment()
    a, sink = Talker(env, "a", 1), FrameSink(env, "sink", keep_arrivals=True)
    link = Link(env, "wire", sink, 0, 0.0, 1.0)
    plug(a, 0, link)
    a.transmit(bytes(10), 0)
    link.set(latency=0.1)
    a.transmit(bytes(20), 0)
    env.run()
    assert sink.arrivals is not None
    assert [(t, n) for t, n, *_ in sink.arrivals] == [(1.0, 10), (1.0, 20)]


def test_bad_settings() -> None:
    env = Environment()
    a, b = Talker(env, "a", 1), Talker(env, "b", 1)
    link, _ = wire(env, a, 0, b, 0)
    with pytest.raises(TypeError, match="cannot set colour"):
        link.set(colour=1)                          # type: ignore[call-arg]
    with pytest.raises(ValueError, match="negative"):
        link.set(rate=-1)
    with pytest.raises(ValueError, match="wired already"):
        wire(env, a, 0, b, 0)
    with pytest.raises(ValueError, match="no probability"):
        Netem(Streams(0)["n"], loss=1.5)
    with pytest.raises(ValueError, match="uniform, normal"):
        Netem(Streams(0)["n"], distribution="cauchy")
