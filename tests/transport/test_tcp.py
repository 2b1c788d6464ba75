"""TCP sockets between two namespaces: handshake, data, loss, teardown, errors."""
from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from simcore.engine import Environment
from simcore.net.device import PythonDevice
from simcore.net.link import wire
from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Generator[Any, Any, None]


class Lossy(PythonDevice):
    """Forwards between its two ports and drops what `drop(number of the frame)` says."""

    def __init__(self, env: Environment, drop: Any) -> None:
        super().__init__(env, "lossy", 2)
        self.drop, self.seen = drop, 0

    def on_frame(self, frame: bytes, port: int) -> None:
        if frame[12:14] == b"\x08\x00":
            self.seen += 1
            if self.drop(self.seen, frame):
                return
        self.transmit(frame, 1 - port)


def network(env: Environment, drop: Any = lambda n, f: False, rate: float = 1e8, queue: int = 1000) -> tuple[Namespace, Namespace]:
    a, b, middle = Namespace(env, "a"), Namespace(env, "b"), Lossy(env, drop)
    for ns, ip in ((a, "10.0.0.1"), (b, "10.0.0.2")):
        ns.add_interface("eth0", f"02:00:00:00:00:0{ip[-1]}")
        ns.add_address("eth0", f"{ip}/24")
    wire(env, a, 0, middle, 0, rate=rate, latency=5e-3, limit=queue)
    wire(env, b, 0, middle, 1, rate=rate, latency=5e-3, limit=queue)
    return a, b


def transfer(env: Environment, a: Namespace, b: Namespace, data: bytes) -> dict[str, Any]:
    """Send `data` from a to b, b answers with its length and closes."""
    result: dict[str, Any] = {}

    def server() -> Process:
        sock = yield TcpListener(b, 80).accept()
        got = b""
        while piece := (yield sock.recv()):
            got += piece
        result["got"] = got
        yield sock.send(str(len(got)).encode())
        yield sock.close()
        result["server"] = sock

    def client() -> Process:
        sock = TcpSocket(a)
        yield sock.connect("10.0.0.2", 80)
        result["connected"] = env.now
        yield sock.send(data)
        yield sock.close()
        result["answer"] = yield sock.recv()
        result["client"] = sock

    env.process(server())
    env.process(client())
    env.run(until=300)
    return result


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_transfer(engine: str) -> None:
    env = Environment(engine=engine)
    data = bytes(i * 7 & 255 for i in range(200_000))
    result = transfer(env, *network(env), data)
    assert result["got"] == data
    assert result["answer"] == b"200000"
    assert result["client"].retransmits == 0
    assert result["client"].state == "CLOSED"
    assert result["server"].state == "CLOSED"


@pytest.mark.parametrize("share", [3, 7, 20])
def test_data_survives_loss(share: int) -> None:
    env = Environment()
    data = bytes(i * 11 & 255 for i in range(120_000))
    result = transfer(env, *network(env, lambda n, f: n % share == 0), data)
    assert result["got"] == data
    assert result["answer"] == b"120000"


@pytest.mark.parametrize("lost", range(1, 12))
def test_any_single_loss_is_repaired(lost: int) -> None:
    env = Environment()
    result = transfer(env, *network(env, lambda n, f: n == lost), b"GET / HTTP/1.1\r\n\r\n")
    assert result["got"] == b"GET / HTTP/1.1\r\n\r\n"
    assert result["answer"] == b"18"


def test_fast_retransmit_beats_the_timer() -> None:
    env = Environment()
    lost: list[int] = []

    def drop(n: int, f: bytes) -> bool:
        if len(f) > 1000 and not lost and env.now > 0.05:
            lost.append(n)
            return True
        return False

    result = transfer(env, *network(env, drop), bytes(400_000))
    assert lost
    assert result["client"].retransmits == 1
    assert result["got"] == bytes(400_000)


def outcome(env: Environment, ns: Namespace, port: int = 80, to: str = "10.0.0.2") -> tuple[float, str]:
    seen: list[tuple[float, str]] = []

    def client() -> Process:
        try:
            yield TcpSocket(ns).connect(to, port)
            seen.append((env.now, "connected"))
        except OSError as error:
            seen.append((env.now, str(error)))

    env.process(client())
    env.run(until=400)
    return seen[0]


def test_refused() -> None:
    env = Environment()
    a, _ = network(env)
    at, what = outcome(env, a)
    assert what == "[Errno 111] ECONNREFUSED: Connection refused"
    assert at < 0.1


def test_connect_times_out_after_six_retries() -> None:
    env = Environment()
    a, _ = network(env, lambda n, f: True)
    at, what = outcome(env, a)
    assert what == "[Errno 110] ETIMEDOUT: Connection timed out"
    assert at == pytest.approx(127.0, abs=0.1)


def test_no_route_and_no_port() -> None:
    env = Environment()
    a, _ = network(env)
    with pytest.raises(OSError, match="ENETUNREACH"):
        TcpSocket(a).connect("8.8.8.8", 80)
    TcpListener(a, 80)
    with pytest.raises(OSError, match="EADDRINUSE"):
        TcpListener(a, 80)
    with pytest.raises(ValueError, match="port 99999 is out of range"):
        TcpListener(a, 99999)


def test_abort_resets_the_peer() -> None:
    env = Environment()
    a, b = network(env)
    seen: list[str] = []

    def server() -> Process:
        sock = yield TcpListener(b, 80).accept()
        try:
            yield sock.recv()
        except OSError as error:
            seen.append(str(error))

    def client() -> Process:
        sock = TcpSocket(a)
        yield sock.connect("10.0.0.2", 80)
        yield env.timeout(1)
        sock.abort()

    env.process(server())
    env.process(client())
    env.run(until=5)
    assert seen == ["[Errno 104] ECONNRESET: Connection reset by peer"]


def test_a_slow_reader_closes_the_window_and_opens_it_again() -> None:
    env = Environment()
    a, b = network(env)
    result: dict[str, Any] = {}

    def server() -> Process:
        sock = yield TcpListener(b, 80, rcvbuf=20_000).accept()
        yield env.timeout(5)
        n = 0
        while piece := (yield sock.recv_count(7000)):
            n += piece
            yield env.timeout(0.01)
        result["n"] = n

    def client() -> Process:
        sock = TcpSocket(a)
        yield sock.connect("10.0.0.2", 80)
        yield sock.send(100_000)
        yield sock.close()
        result["closed"] = env.now

    env.process(server())
    env.process(client())
    env.run(until=60)
    assert result["n"] == 100_000
    assert result["closed"] > 5


def test_bulk_fills_the_link() -> None:
    env = Environment()
    a, b = network(env, rate=1e7, queue=100)
    got: list[TcpSocket] = []

    def server() -> Process:
        sock = yield TcpListener(b, 80).accept()
        got.append(sock)
        while (yield sock.recv_count()):
            pass

    def client() -> Process:
        sock = TcpSocket(a)
        yield sock.connect("10.0.0.2", 80)
        while True:
            yield sock.send(1 << 20)

    env.process(server())
    env.process(client())
    env.run(until=30)
    before = got[0].bytes_in
    env.run(until=130)
    goodput = (got[0].bytes_in - before) * 8 / 100
    assert goodput == pytest.approx(1e7 * 1448 / 1514, rel=0.005)
