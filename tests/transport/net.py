"""Two hosts and the wire between them, for the transport tests."""
from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simcore.engine import Environment, Streams
from simcore.net.cable import LinkParameters, connect
from simcore.net.link import Link
from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Generator[Any, Any, None]
SEGMENT = 1448
FULL = 1514


class Pair:
    """Senders' host a, receivers' host b; `there` is the link from a to b."""

    def __init__(self, there: LinkParameters, back: LinkParameters | None = None, engine: str = "compiled", seed: int = 1,
                 sysctl: dict[str, Any] | None = None) -> None:
        self.env, self.streams = Environment(engine=engine), Streams(seed)
        self.a, self.b = Namespace(self.env, "a", sysctl), Namespace(self.env, "b", sysctl)
        for ns, ip in ((self.a, "10.0.0.1"), (self.b, "10.0.0.2")):
            ns.add_interface("eth0", f"02:00:00:00:00:0{ip[-1]}")
            ns.add_address("eth0", f"{ip}/24")
        p = LinkParameters(there.rate, there.latency, there.queue, there.qdisc, there.netem,
                           back or LinkParameters(there.rate, there.latency))
        links = connect(self.env, self.streams, self.a, 0, "a/eth0", self.b, 0, "b/eth0", p)
        self.there: Link = links["a/eth0"]
        self.back: Link = links["b/eth0"]
        self.received: list[TcpSocket] = []
        self.senders: list[TcpSocket] = []

    def sink(self, port: int = 80, **options: Any) -> None:
        """Accept everything and count it."""
        listener = TcpListener(self.b, port, discard=True, **options)

        def accept() -> Process:
            while True:
                self.received.append((yield listener.accept()))
        self.env.process(accept())

    def flow(self, size: int | None = None, at: float = 0.0, record: bool = False, **options: Any) -> dict[str, Any]:
        """Send `size` bytes, or for ever, from `at` on; the result fills in as it goes."""
        result: dict[str, Any] = {}

        def run() -> Process:
            yield self.env.timeout(at)
            sock = TcpSocket(self.a, **options)
            if record:
                sock.record()
            self.senders.append(sock)
            result["socket"] = sock
            yield sock.connect("10.0.0.2", 80)
            if size is None:
                while True:
                    yield sock.send(1 << 20)
            yield sock.send(size)
            yield sock.close()
            result["time"] = self.env.now - at
        self.env.process(run())
        return result

    def goodput(self, start: float, end: float) -> list[float]:
        """bit/s of each connection between two times."""
        self.env.run(until=start)
        before = [s.bytes_in for s in self.received]
        self.env.run(until=end)
        return [(s.bytes_in - b) * 8 / (end - start) for s, b in zip(self.received, before, strict=True)]
