"""Receive buffers: what is offered of them, how they grow, and who was held back by them."""
from __future__ import annotations

from typing import Any

import pytest

from simcore.net.cable import LinkParameters
from simcore.transport import TcpListener, TcpSocket
from tests.transport.net import FULL, SEGMENT, Pair, Process

RMEM, WMEM, MODERATE = "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_moderate_rcvbuf"
RATIO = 170 / 256
"""Of the memory what full segments' payload takes, as the kernel has it (test_live_transfers holds the two together)."""


def long_path(sysctl: dict[str, Any], rtt: float = 0.1, engine: str = "compiled") -> Pair:
    return Pair(LinkParameters(1e9, rtt / 2, 20_000), engine=engine, sysctl=sysctl)


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
@pytest.mark.parametrize(("sysctl", "memory"), [({RMEM: "4096 131072 600000"}, 600_000), ({MODERATE: 0}, 131_072)])
def test_a_window_each_round_trip(sysctl: dict[str, Any], memory: int, engine: str) -> None:
    """Where memory is the limit, goodput is the window over the round trip; without moderation it stays as it was at first."""
    pair = long_path(sysctl, engine=engine)
    pair.sink()
    pair.flow()
    [rate] = pair.goodput(3, 6)
    assert rate == pytest.approx(memory * RATIO * 8 / 0.1, rel=0.02)
    limited = pair.senders[0].limited
    assert limited["rwnd"] > 0.8 * limited["busy"] > 4
    assert limited["sndbuf"] == 0


def test_it_grows_to_what_the_path_takes() -> None:
    """As many bytes as are read in a round trip, twice, are enough to fill any path; the window scale allows for all of them."""
    pair = Pair(LinkParameters(2e9, 0.05, 20_000), sysctl={RMEM: "4096 131072 134217728", WMEM: "4096 16384 134217728"})
    pair.sink()
    pair.flow()
    [rate] = pair.goodput(3, 4)
    assert rate == pytest.approx(2e9 * SEGMENT / FULL, rel=0.01)
    assert pair.senders[0].inflight > 2e9 / 8 * 0.1


def test_the_send_buffer() -> None:
    pair = long_path({WMEM: "4096 16384 1000000"})
    pair.sink()
    sock = TcpSocket(pair.a)

    def write() -> Process:
        yield sock.connect("10.0.0.2", 80)
        while True:
            yield sock.send(1 << 16)
    pair.env.process(write())
    [rate] = pair.goodput(3, 6)
    assert 1_000_000 <= rate * 0.1 / 8 <= 1_000_000 + (1 << 16)
    assert sock.limited["sndbuf"] > 0.8 * sock.limited["busy"]


def test_a_slow_reader_gets_no_larger_window() -> None:
    """It grows by what is read, not by what comes: 200 kB/s need no more than the buffer there is."""
    pair = long_path({}, rtt=0.02)
    socks: list[TcpSocket] = []

    def read() -> Process:
        sock = yield TcpListener(pair.b, 80).accept()
        socks.append(sock)
        while (yield sock.recv_count(2000)):
            yield pair.env.timeout(0.01)
    pair.env.process(read())
    pair.flow()
    pair.env.run(until=10)
    [sock], [sender] = socks, pair.senders
    assert sock.bytes_in < 10 * 200_000 + 131_072
    assert sender.limited["rwnd"] > 0.9 * sender.limited["busy"]


def test_time_is_of_one_kind_at_a_time() -> None:
    """Idle time is nobody's; a loss-free path that is the limit is cwnd's."""
    pair = Pair(LinkParameters(10e6, 0.01, 50))
    pair.sink()
    done = pair.flow(size=2_000_000, at=1)
    pair.env.run(until=10)
    limited = done["socket"].limited
    assert limited["busy"] == pytest.approx(done["time"], abs=0.05)
    assert limited["cwnd"] > 0.9 * limited["busy"]
    assert limited["cwnd"] + limited["rwnd"] + limited["sndbuf"] <= limited["busy"]
