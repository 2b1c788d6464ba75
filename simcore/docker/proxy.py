"""docker-proxy: the userland process that listens on a published port for whom the rules do not translate.

That is a container that asks its own host, and the host itself: their packets do not cross PREROUTING from
outside, so they reach the proxy, which opens a connection of its own to the container.
"""
from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket, UdpSocket

Process = Generator[Any, Any, None]
Backend = Callable[[], tuple[str, int]]
"""Says where the port leads to now: a container's address and port."""

UDP_IDLE = 90.0
"""Seconds after which docker-proxy forgets who sent it datagrams, and that he may be answered."""


def serve_tcp(host: Namespace, host_port: int, backend: Backend, host_address: str = "") -> None:
    """Relay TCP connections to `host_port` of the host (at `host_address`, or any of its addresses) to a container."""
    env = host.env
    listener = TcpListener(host, host_port, address=host_address)

    def relay(a: TcpSocket, b: TcpSocket) -> Process:
        try:
            while data := (yield a.recv()):
                yield b.send(data)
            yield b.close()
        except OSError:
            a.abort()
            b.abort()

    def connection(near: TcpSocket) -> Process:
        far = TcpSocket(host)
        try:
            yield far.connect(*backend())
        except OSError:
            near.abort()
            return
        env.process(relay(near, far))
        env.process(relay(far, near))

    def accept() -> Process:
        while True:
            env.process(connection((yield listener.accept())))

    env.process(accept())


def _send(sock: UdpSocket, data: bytes, address: str, port: int) -> None:
    """Send a datagram, though the socket may first have to tell of an earlier one that came to nothing."""
    for _ in range(2):
        try:
            sock.sendto(data, address, port)
            return
        except OSError:
            continue


def serve_udp(host: Namespace, host_port: int, backend: Backend, addresses: Sequence[str]) -> None:
    """Relay datagrams to `host_port` at the host's `addresses` to a container, and answers back from the address that was asked.

    With "", any of its addresses may be asked, and the answer comes from the one that the route to who asked says.
    Each sender has a socket of its own towards the container, until no answer has come for UDP_IDLE.
    """
    env = host.env

    def answers(far: UdpSocket, near: UdpSocket, sender: tuple[str, int], relays: dict[tuple[str, int], UdpSocket]) -> Process:
        waiting: Any = None
        idle_from = env.now
        while env.now - idle_from < UDP_IDLE:
            waiting = waiting or far.recvfrom()
            try:
                yield waiting | env.timeout(idle_from + UDP_IDLE - env.now)
                if waiting.triggered:
                    _send(near, waiting.value[0], *sender)
                    idle_from = env.now
            except OSError:
                pass            # nobody listens in the container: docker-proxy goes on until it forgets who asked
            if waiting.triggered:
                waiting = None
        far.close()
        del relays[sender]

    def questions(near: UdpSocket) -> Process:
        relays: dict[tuple[str, int], UdpSocket] = {}
        while True:
            try:
                data, address, port = yield near.recvfrom()
            except OSError:
                continue        # an answer found nobody any more
            sender = address, port
            if sender not in relays:
                relays[sender] = UdpSocket(host)
                env.process(answers(relays[sender], near, sender, relays))
            _send(relays[sender], data, *backend())

    for address in addresses:
        env.process(questions(UdpSocket(host, host_port, address)))
