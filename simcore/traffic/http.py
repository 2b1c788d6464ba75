"""A small HTTP/1.1 server and client as SimPy processes: real requests, real responses (RFC 9112)."""
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Generator[Any, Any, None]


@dataclass
class HttpResult:
    """One request as its client saw it."""

    status: int = 0
    body_bytes: int = 0
    body: bytes = b""
    connect_time: float = 0.0
    first_byte_time: float = 0.0
    total_time: float = 0.0
    source_port: int = 0
    error: str = ""


def read_head(sock: TcpSocket) -> Generator[Any, Any, tuple[bytes, bytes]]:
    """Read up to the empty line; the head and what came after it (both empty at end of stream)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = yield sock.recv(65536)
        if not piece:
            return b"", b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def content_length(head: bytes) -> int:
    """The Content-Length of a head, 0 if there is none."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def serve(ns: Namespace, port: int, body: bytes, size: int | None = None, think: float = 0.0) -> None:
    """Listen and answer every request with 200 and the body (or `size` zero bytes)."""
    listener = TcpListener(ns, port)
    env = ns.env

    def connection(sock: TcpSocket) -> Process:
        try:
            while True:
                head, _ = yield from read_head(sock)
                if not head:
                    break
                if think:
                    yield env.timeout(think)
                length = len(body) if size is None else size
                answer = f"HTTP/1.1 200 OK\r\nServer: simcore\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
                if size is None:
                    yield sock.send(answer.encode() + body)
                else:
                    yield sock.send(answer.encode())
                    yield sock.send(size)
            yield sock.close()
        except OSError:
            return              # the client went away: its own result says so

    def accept() -> Process:
        while True:
            sock = yield listener.accept()
            env.process(connection(sock))

    env.process(accept())


def get(ns: Namespace, address: str, port: int, host: str, path: str = "/", source_port: int = 0) -> Generator[Any, Any, HttpResult]:
    """One GET over a connection of its own."""
    env, result = ns.env, HttpResult()
    started = env.now
    sock = TcpSocket(ns, source_port)
    try:
        yield sock.connect(address, port)
        result.connect_time = env.now - started
        result.source_port = sock.local_port
        yield sock.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: simcore\r\nAccept: */*\r\n\r\n".encode())
        head, body = yield from read_head(sock)
        result.first_byte_time = env.now - started
        result.status = int(head.split()[1]) if head else 0
        length = content_length(head)
        got = len(body)
        while got < length:
            if length > 65536:
                n = yield sock.recv_count()
                got += n
            else:
                piece = yield sock.recv(65536)
                n = len(piece)
                body += piece
                got += n
            if not n:
                break
        result.body, result.body_bytes = body[:65536], got
        yield sock.close()
    except OSError as error:
        result.error = str(error)
    result.total_time = env.now - started
    return result
