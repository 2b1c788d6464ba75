"""docker-proxy: the userland process that listens on a published port for whom the rules do not translate.

That is a container that asks its own host, and the host itself: their packets do not cross PREROUTING from
outside, so they reach the proxy, which opens a connection of its own to the container.
"""
from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Generator[Any, Any, None]


def serve(host: Namespace, host_port: int, address: str, port: int, host_address: str = "") -> None:
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
            yield far.connect(address, port)
        except OSError:
            near.abort()
            return
        env.process(relay(near, far))
        env.process(relay(far, near))

    def accept() -> Process:
        while True:
            env.process(connection((yield listener.accept())))

    env.process(accept())
