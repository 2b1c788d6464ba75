"""HTTP as others may send it: bodies of every kind, requests one behind the other, and what is none."""
from __future__ import annotations

import pytest

from simcore.net.cable import LinkParameters
from simcore.traffic import http
from simcore.transport import TcpListener, TcpSocket
from tests.transport.net import Pair, Process


def answered(pieces: list[bytes], pause: float = 0.01) -> http.HttpResult:
    """What a client makes of a server that sends these pieces, then closes."""
    sim = Pair(LinkParameters(1e9, 1e-3))
    results: list[http.HttpResult] = []

    def server() -> Process:
        sock = yield TcpListener(sim.b, 80).accept()
        yield from http.read_head(sock)
        for piece in pieces:
            yield sock.send(piece)
            yield sim.env.timeout(pause)
        yield sock.close()

    def client() -> Process:
        results.append((yield from http.get(sim.a, "10.0.0.2", 80, "b")))
    sim.env.process(server())
    sim.env.process(client())
    sim.env.run(until=100)
    return results[0]


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: gzip, Chunked\r\n\r\n"


@pytest.mark.parametrize(("pieces", "status", "body", "error"), [
    ([OK + b"Content-Length: 5\r\n\r\nhello"], 200, b"hello", ""),
    ([OK + b"Content-Len", b"gth: 5\r\n\r", b"\nhe", b"llo and more"], 200, b"hello and more", ""),
    ([OK + b"\r\nto the ", b"end"], 200, b"to the end", ""),
    ([CHUNKED + b"5\r\nhello\r\n7; name=value\r\n, world\r\n0\r\n\r\n"], 200, b"hello, world", ""),
    ([CHUNKED + b"5\r", b"\nhel", b"lo\r\n", b"A\r\n0123456789", b"\r\n0\r\nTrailer: x\r\n\r\n"], 200, b"hello0123456789", ""),
    ([CHUNKED + b"5\r\nhel"], 200, b"", "closed before the end"),
    ([CHUNKED + b"five\r\nhello\r\n0\r\n\r\n"], 200, b"", "closed before the end"),
    ([CHUNKED + b"5\r\nhello\r\n"], 200, b"hello", "closed before the end"),
    ([OK + b"Content-Length: 5\r\n\r\nhel"], 200, b"hel", "closed before the end"),
    ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b"", ""),
    ([b"220 smtp ready\r\n\r\n"], 0, b"", "not an HTTP response"),
    ([b"HTTP/1.1 200 OK\r\n"], 0, b"", "closed before the end"),
    ([], 0, b"", "closed before the end"),
])
def test_responses(pieces: list[bytes], status: int, body: bytes, error: str) -> None:
    r = answered(pieces)
    assert (r.status, r.body, r.body_bytes, r.error) == (status, body, len(body), error)


def test_long_bodies_are_counted_and_begin_as_they_do() -> None:
    long = bytes(range(256)) * 1000
    for head in (OK + b"Content-Length: %d\r\n\r\n" % len(long), OK + b"\r\n"):
        r = answered([head + long[:1000], long[1000:]])
        assert (r.body_bytes, r.error) == (len(long), "")
        assert long.startswith(r.body)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (long[i:i + 7777] for i in range(0, len(long), 7777)))
    r = answered([CHUNKED + chunks + b"0\r\n\r\n"])
    assert (r.body_bytes, r.body, r.error) == (len(long), long[:http.KEPT], "")


def said(*requests: bytes, size: int | None = None) -> bytes:
    """All that the server answers to what is sent in these pieces."""
    sim = Pair(LinkParameters(1e9, 1e-3))
    http.serve(sim.b, 80, b"hello", size)
    got: list[bytes] = []

    def client() -> Process:
        sock = TcpSocket(sim.a)
        yield sock.connect("10.0.0.2", 80)
        for piece in requests:
            yield sock.send(piece)
            yield sim.env.timeout(0.01)
        sock.close()
        while data := (yield sock.recv()):
            got.append(data)
    sim.env.process(client())
    sim.env.run(until=100)
    return b"".join(got)


GET = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"


def test_requests() -> None:
    one = said(GET)
    assert one.startswith(b"HTTP/1.1 200 OK\r\n")
    assert one.endswith(b"Content-Length: 5\r\n\r\nhello")
    assert said(GET * 3) == one * 3                                             # one behind the other
    assert said(GET[:7], GET[7:] + GET[:20], GET[20:]) == one * 2
    assert said(b"POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\nGET /", b" HT" + GET) == one * 2      # a body is no request
    assert said(GET.replace(b"GET", b"HEAD") + GET) == one.removesuffix(b"hello") + one
    assert said(b"GET / HTTP/1.0\r\n\r\n" + GET) == one                         # closes, as it was not asked to wait
    assert said(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" + GET) == one * 2
    assert said(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n" + GET) == one
    assert said(b"what?\r\n\r\n" + GET).startswith(b"HTTP/1.1 400 ")
    assert said(GET, size=7).endswith(b"\r\n\r\n" + bytes(7))
