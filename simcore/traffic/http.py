"""A small HTTP/1.1 server and client as SimPy processes: real requests, real responses (RFC 9112)."""
from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from simcore.net.namespace import Namespace
from simcore.transport import TcpListener, TcpSocket

Process = Generator[Any, Any, None]
KEPT = 65536
"""Bytes of a body that are kept; of what is longer the rest is counted."""


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


def _read_until(sock: TcpSocket, data: bytes, mark: bytes) -> Generator[Any, Any, bytes]:
    """`data` and what follows it, up to and past the mark; without it at the end of the stream."""
    while mark not in data and (piece := (yield sock.recv(KEPT))):
        data += piece
    return data


def _read_to(sock: TcpSocket, data: bytes, size: int) -> Generator[Any, Any, bytes]:
    """`data` and what follows it, so many bytes or more; fewer at the end of the stream."""
    while len(data) < size and (piece := (yield sock.recv(KEPT))):
        data += piece
    return data


def read_head(sock: TcpSocket, data: bytes = b"") -> Generator[Any, Any, tuple[bytes, bytes]]:
    """Read up to the empty line, `data` being there already; the head and what came after it (no head at the end of the stream)."""
    data = yield from _read_until(sock, data, b"\r\n\r\n")
    head, end, rest = data.partition(b"\r\n\r\n")
    return (head, rest) if end else (b"", b"")


def field(head: bytes, name: str) -> str:
    """A field's value in lower case, empty if it is not there."""
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.encode():
            return value.strip().decode("latin-1").lower()
    return ""


def content_length(head: bytes) -> int | None:
    """The Content-Length of a head, None if there is none or it is no number."""
    value = field(head, "content-length")
    return int(value) if value.isdecimal() else None


def read_body(sock: TcpSocket, head: bytes, rest: bytes) -> Generator[Any, Any, tuple[bytes, int, bool]]:
    """Read a response's body (RFC 9112 6.3): by length, in chunks, or to the end of the stream.

    Returns
    -------
    tuple
        The first 64 KiB, how many bytes there were, and whether that is all of it.
    """
    if head.split()[1] in (b"204", b"304"):
        return b"", 0, True
    if field(head, "transfer-encoding").endswith("chunked"):
        return (yield from _read_chunks(sock, rest))
    length, got, body = content_length(head), len(rest), rest
    while length is None or got < length:
        if got >= KEPT or length is not None and length > KEPT:
            n = yield sock.recv_count()
        else:
            piece = yield sock.recv(KEPT)
            n, body = len(piece), body + piece
        if not n:
            break
        got += n
    return body[:KEPT], got, length is None or got >= length


def _read_chunks(sock: TcpSocket, data: bytes) -> Generator[Any, Any, tuple[bytes, int, bool]]:
    body, got = b"", 0
    while True:
        line, end, data = (yield from _read_until(sock, data, b"\r\n")).partition(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16) if end else -1
        except ValueError:
            size = -1
        if size <= 0:                   # trailers go unread: the connection is not used again
            return body, got, size == 0
        data = yield from _read_to(sock, data, size + 2)
        if len(data) < size + 2:
            return body, got, False
        body, got, data = (body + data[:size])[:KEPT], got + size, data[size + 2:]


def serve(ns: Namespace, port: int, body: bytes, size: int | None = None, think: float = 0.0) -> None:
    """Listen and answer every request with 200 and the body (or `size` zero bytes); what is no request with 400."""
    listener = TcpListener(ns, port)
    env = ns.env

    def connection(sock: TcpSocket) -> Process:
        rest = b""
        try:
            while True:
                head, rest = yield from read_head(sock, rest)
                words = head.split(b"\r\n")[0].split()
                if not head:
                    break
                if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
                    yield sock.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                    break
                more = content_length(head) or 0            # a request's own body
                rest = (yield from _read_to(sock, rest, more))[more:]
                if think:
                    yield env.timeout(think)
                length = len(body) if size is None else size
                answer = f"HTTP/1.1 200 OK\r\nServer: simcore\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
                if size is None:
                    yield sock.send(answer.encode() + (b"" if words[0] == b"HEAD" else body))
                else:
                    yield sock.send(answer.encode())
                    if words[0] != b"HEAD":
                        yield sock.send(size)
                wish = field(head, "connection")
                if wish == "close" or words[2] == b"HTTP/1.0" and wish != "keep-alive":
                    break
            yield sock.close()
        except OSError:
            return              # the client went away: its own result says so

    def accept() -> Process:
        while True:
            sock = yield listener.accept()
            env.process(connection(sock))

    env.process(accept())


def get(ns: Namespace, address: str, port: int, host: str = "", path: str = "/",
        source_port: int = 0) -> Generator[Any, Any, HttpResult]:
    """One GET over a connection of its own; `host` is the name asked for, if it is not the address."""
    env, result = ns.env, HttpResult()
    started = env.now
    try:
        sock = TcpSocket(ns, source_port)
        yield sock.connect(address, port)
        result.connect_time = env.now - started
        result.source_port = sock.local_port
        yield sock.send(f"GET {path} HTTP/1.1\r\nHost: {host or address}\r\nUser-Agent: simcore\r\nAccept: */*\r\n\r\n".encode())
        head, body = yield from read_head(sock)
        result.first_byte_time = env.now - started
        whole, words = False, head.split(maxsplit=2)
        if len(words) == 3 and words[0].startswith(b"HTTP/") and words[1].isdigit():
            result.status = int(words[1])
            result.body, result.body_bytes, whole = yield from read_body(sock, head, body)
        if not whole:
            result.error = "not an HTTP response" if head and not result.status else "closed before the end"
        yield sock.close()
    except OSError as error:
        result.error = str(error)
    result.total_time = env.now - started
    return result
