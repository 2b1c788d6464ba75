"""SimPy's semantics hold, and packet events keep their place among SimPy's."""
from __future__ import annotations

import pytest
import simpy

from simcore.engine import Environment, Streams
from simcore.net.device import PythonDevice
from simcore.net.link import wire
from simcore.net.probe import Collector, inject

ENGINES = ["compiled", "simpy"]


class Recorder(PythonDevice):
    """Notes when frames come; answers each frame if told to."""

    def __init__(self, env: Environment, log: list[tuple[float, str, str]], answer: bool = False) -> None:
        super().__init__(env, "recorder", 2)
        self.log, self.answer = log, answer

    def on_frame(self, frame: bytes, port: int) -> None:
        self.log.append((self.env.now, "frame", frame.decode()))
        if self.answer:
            self.transmit(frame.upper(), port)


@pytest.mark.parametrize("engine", ENGINES)
def test_simpy_events_come_before_packets_of_the_same_time(engine: str) -> None:
    env = Environment(engine=engine)
    log: list[tuple[float, str, str]] = []
    a, b = Recorder(env, log), Recorder(env, log)
    wire(env, a, 0, b, 0, latency=1.0)

    def clock(env: Environment) -> simpy.events.ProcessGenerator:
        for _ in range(3):
            yield env.timeout(1.0)
            log.append((env.now, "clock", ""))
            a.transmit(f"sent at {env.now:.0f}".encode(), 0)

    env.process(clock(env))
    env.run()
    assert log == [(1.0, "clock", ""), (2.0, "clock", ""), (2.0, "frame", "sent at 1"), (3.0, "clock", ""),
                   (3.0, "frame", "sent at 2"), (4.0, "frame", "sent at 3")]


@pytest.mark.parametrize("engine", ENGINES)
def test_ties_are_taken_in_the_order_of_sending(engine: str) -> None:
    env = Environment(engine=engine)
    log: list[tuple[float, str, str]] = []
    sink = Recorder(env, log)
    sources = [Recorder(env, log) for _ in range(2)]
    for port, source in enumerate(sources):
        wire(env, source, 0, sink, port, latency=0.5)

    def send(env: Environment) -> simpy.events.ProcessGenerator:
        yield env.timeout(1)
        for i in (1, 0, 1, 0):
            sources[i].transmit(f"{i}".encode(), 0)

    env.process(send(env))
    env.run()
    assert [name for _, _, name in log] == ["1", "0", "1", "0"]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exception_in_a_device_stops_the_run(engine: str) -> None:
    class Broken(PythonDevice):
        def on_frame(self, frame: bytes, port: int) -> None:
            raise RuntimeError("broken device")

    env = Environment(engine=engine)
    a, b = Recorder(env, []), Broken(env, "broken")
    wire(env, a, 0, b, 0, latency=0.1)
    a.transmit(b"x", 0)
    with pytest.raises(RuntimeError, match="broken device"):
        env.run(until=1)


@pytest.mark.parametrize("engine", ENGINES)
def test_drop_tail_queue_and_serialisation(engine: str) -> None:
    env = Environment(engine=engine)
    a, b = Recorder(env, []), Collector(env, "sink", 1)
    link, _ = wire(env, a, 0, b, 0, rate=8000.0, latency=0.25, limit=3)
    for _ in range(10):
        a.transmit(bytes(100), 0)
    env.run(until=0.05)
    assert (link.dropped, link.queued) == (6, 3)
    env.run()
    assert len(b.frames) == 4
    assert env.now == pytest.approx(4 * 0.1 + 0.25)
    assert link.waited == pytest.approx(0.1 + 0.2 + 0.3)


@pytest.mark.parametrize("engine", ENGINES)
def test_run_until_stops_between_packets(engine: str) -> None:
    env = Environment(engine=engine)
    log: list[tuple[float, str, str]] = []
    a, b = Recorder(env, log), Recorder(env, log, answer=True)
    wire(env, a, 0, b, 0, latency=1.0)
    inject(a, 0, b"ignored")
    a.transmit(b"ping", 0)
    env.run(until=1.5)
    assert [x[2] for x in log] == ["ignored", "ping"]
    assert env.now == 1.5
    env.run(until=3)
    assert log[-1] == (2.0, "frame", "PING")


def test_streams_do_not_shift_each_other() -> None:
    a, b = Streams(5), Streams(5)
    first = a["source"].random(4)
    b["another"].random(100)
    assert (b["source"].random(4) == first).all()
    assert (Streams(6)["source"].random(4) != first).all()
