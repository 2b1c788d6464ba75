"""TCP where theory, or common sense, knows the answer: rates, fairness, queues, response to loss."""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from simcore.net.cable import LinkParameters
from simcore.transport import PingSocket
from tests.transport.net import FULL, SEGMENT, Pair, Process

ALGORITHMS = ["reno", "cubic", "linux-cubic", "dctcp", "bbr"]


@pytest.mark.parametrize("congestion", ["reno", "cubic"])
@pytest.mark.parametrize(("rate", "rtt", "queue"), [(10e6, 0.01, 100), (100e6, 0.02, 400), (1e9, 0.002, 400)])
def test_a_flow_fills_the_link(congestion: str, rate: float, rtt: float, queue: int) -> None:
    """(a) After slow start the goodput is the rate times the payload's share, to half a per cent."""
    pair = Pair(LinkParameters(rate, rtt / 2, queue))
    pair.sink()
    pair.flow(congestion=congestion)
    [goodput] = pair.goodput(5, 5 + 100e6 * 8 / rate if rate > 2e7 else 65)
    assert goodput == pytest.approx(rate * SEGMENT / FULL, rel=0.005)


def test_bbr_fills_the_link_without_filling_the_queue() -> None:
    pair = Pair(LinkParameters(100e6, 10e-3, 1000))
    pair.sink()
    pair.flow(congestion="bbr")
    [goodput] = pair.goodput(2, 30)
    assert goodput > 0.9 * 100e6 * SEGMENT / FULL
    assert pair.there.waited / pair.there.packets < 0.005
    assert pair.there.dropped == 0


@pytest.mark.parametrize("loss", [0.002, 0.01])
def test_reno_follows_the_square_root_law(loss: float) -> None:
    """(b) Mathis et al. 1997: MSS / RTT * sqrt(3 / (2 p)) under random loss."""
    rates = []
    for seed in range(6):
        pair = Pair(LinkParameters(1e9, 50e-3, 10000, netem={"loss": loss}), LinkParameters(1e9, 50e-3), seed=seed)
        pair.sink()
        pair.flow(congestion="reno")
        rates += pair.goodput(20, 600)
    assert np.mean(rates) == pytest.approx(SEGMENT * 8 / 0.1 * math.sqrt(1.5 / loss), rel=0.1)


def cubic_model(loss: float, rtt: float, seconds: float, seed: int) -> float:
    """Mean window in segments of RFC 9438's equations alone, round trip by round trip, under random loss."""
    rng = np.random.default_rng(seed)
    w, w_max, w_est, t, total = 100.0, 100.0, 100.0, 0.0, 0.0
    k, prior = 0.0, 0.0
    left = rng.exponential(1 / loss)
    rounds = int(seconds / rtt)
    for _ in range(rounds):
        total += w
        left -= w
        if left <= 0:
            left = rng.exponential(1 / loss)
            w_max = w if w >= w_max else w * 0.85
            prior, w, t = w, 0.7 * w, 0.0
            w_est, k = w, float(np.cbrt(max(w_max - w, 0) / 0.4))
            continue
        t += rtt
        w_est += 0.9 / 1.7 if w_est < prior else 1.0
        w = max(w, min(1.5 * w, max(w_max + 0.4 * (t - k) ** 3, w_est)))
    return total / rounds


@pytest.mark.parametrize(("loss", "rtt"), [(0.0003, 0.1), (0.003, 0.05)])
def test_cubic_follows_its_response_function(loss: float, rtt: float) -> None:
    """(b) Under random loss: what the equations of RFC 9438 give on their own; at high loss that is Reno's law, too."""
    rates = []
    for seed in range(6):
        pair = Pair(LinkParameters(1e9, rtt / 2, 100000, netem={"loss": loss}), LinkParameters(1e9, rtt / 2), seed=seed)
        pair.sink(rcvbuf=64 << 20)
        pair.flow(congestion="cubic", sndbuf=64 << 20)
        rates += pair.goodput(30, 430)
    model = np.mean([cubic_model(loss, rtt, 3000, seed) for seed in range(8)]) * SEGMENT * 8 / rtt
    assert np.mean(rates) == pytest.approx(model, rel=0.1)


@pytest.mark.parametrize("congestion", ALGORITHMS)
def test_equal_flows_share_equally(congestion: str) -> None:
    """(d) Jain's index over four flows of the same path."""
    pair = Pair(LinkParameters(20e6, 10e-3, 100))
    pair.sink()
    for i in range(4):
        pair.flow(at=0.1 * i, congestion=congestion)
    rates = pair.goodput(30, 180)
    assert sum(rates) ** 2 / (4 * sum(r * r for r in rates)) > 0.93
    assert sum(rates) > 0.9 * 20e6 * SEGMENT / FULL


def test_the_shorter_round_trip_gets_more() -> None:
    """(d) RTT unfairness has the known direction, and CUBIC less of it than Reno."""
    shares = {}
    for congestion in ("reno", "cubic"):
        near, far = _two_distances(congestion)
        shares[congestion] = near / far
    assert shares["reno"] > 1.5
    assert 1.0 < shares["cubic"] < shares["reno"] * 1.2


def _two_distances(congestion: str) -> tuple[float, float]:
    from simcore.docker.host import DockerHost, Internet
    from simcore.engine import Environment, Streams
    from simcore.transport import TcpListener, TcpSocket
    env, streams = Environment(), Streams(2)
    host = DockerHost(env, streams)
    host.add_network("bridge", "172.17.0.0/16")
    for name in ("near", "far"):
        host.add_container(name, {"bridge": None})
    host.start(LinkParameters(1e9, 1e-3), {"far": LinkParameters(1e9, 31e-3)})
    internet = Internet(env, streams)
    internet.connect(host, LinkParameters(1e9, 1e-3))
    server = internet.add_server("web", "93.184.216.34", 24, LinkParameters(20e6, 5e-3, 60, reverse=LinkParameters(1e9, 5e-3)))
    got: list[TcpSocket] = []

    def serve() -> Process:
        listener = TcpListener(server, 80, discard=True)
        while True:
            got.append((yield listener.accept()))

    def upload(ns: Any) -> Process:
        sock = TcpSocket(ns, congestion=congestion)
        yield sock.connect("93.184.216.34", 80)
        while True:
            yield sock.send(1 << 20)
    env.process(serve())
    for name in ("near", "far"):
        env.process(upload(host.containers[name].namespace))
    env.run(until=200)
    return got[0].bytes_in, got[1].bytes_in


@pytest.mark.parametrize(("qdisc", "isolated"), [("fq_codel", True), (None, False)])
def test_a_ping_under_load(qdisc: str | None, isolated: bool) -> None:
    """(e) fq_codel keeps a ping below twice its base and 10 ms under a bulk flow; a long drop-tail queue does not."""
    pair = Pair(LinkParameters(10e6, 10e-3, 300, qdisc), LinkParameters(10e6, 10e-3))
    pair.sink()
    pair.flow(at=2.0)
    rtts: list[float] = []

    def ping() -> Process:
        socket = PingSocket(pair.a, 1)
        while True:
            rtt = yield socket.echo("10.0.0.2", 56)
            if rtt is not None:
                rtts.append(rtt)
            yield pair.env.timeout(0.1)
    pair.env.process(ping())
    pair.env.run(until=2)
    base = np.mean(rtts[1:])
    rtts.clear()
    pair.env.run(until=30)
    assert (max(rtts[20:]) < 2 * base + 0.01) == isolated


def test_dctcp_keeps_the_queue_at_its_threshold() -> None:
    """A step marking at 30 kB: full throughput with a queue of about that, and no loss."""
    red = {"kind": "red", "limit": 400_000, "min": 30_000, "max": 30_001, "burst": 31, "probability": 1.0, "ecn": True}
    pair = Pair(LinkParameters(100e6, 0.5e-3, qdisc=red), sysctl={"net.ipv4.tcp_congestion_control": "dctcp"})
    pair.sink()
    for _ in range(2):
        pair.flow()
    rates = pair.goodput(2, 10)
    assert sum(rates) > 0.97 * 100e6 * SEGMENT / FULL
    assert pair.there.dropped == 0
    assert pair.there.queue_seconds / pair.env.now * FULL < 60_000


def test_goodput_table() -> None:
    """(h) Loss x buffer x flows: a table that changes only when TCP does; then put the new one here and say why."""
    table = {}
    for loss in (0.0, 0.01):
        for queue in (10, 100):
            for flows in (1, 4):
                pair = Pair(LinkParameters(20e6, 10e-3, queue, netem={"loss": loss} if loss else {}), seed=5)
                pair.sink()
                for i in range(flows):
                    pair.flow(at=0.01 * i)
                table[loss, queue, flows] = round(sum(pair.goodput(5, 35)) / 1e6, 2)
    assert table == GOODPUT


GOODPUT: dict[tuple[float, int, int], float] = {        # Mbit/s at 20 Mbit/s and 20 ms, by loss, queue and flows
    (0.0, 10, 1): 18.8, (0.0, 10, 4): 19.08, (0.0, 100, 1): 19.13, (0.0, 100, 4): 19.13,
    (0.01, 10, 1): 6.67, (0.01, 10, 4): 18.49, (0.01, 100, 1): 6.64, (0.01, 100, 4): 18.82,
}


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_history_tells_the_story(engine: str) -> None:
    pair = Pair(LinkParameters(20e6, 10e-3, 40), engine=engine)
    pair.sink()
    flow = pair.flow(5_000_000, record=True)
    pair.env.run(until=20)
    rows = flow["socket"].history
    assert [a[0] for a in rows] == sorted(a[0] for a in rows)
    assert {r[6] for r in rows} >= {"Open", "Recovery"}
    cwnd = np.array([r[1] for r in rows])
    assert cwnd[0] >= 10 * SEGMENT
    assert cwnd.max() > 2 * cwnd[0]
    assert 4.0 > flow["time"] > 5_000_000 * 8 / 20e6
