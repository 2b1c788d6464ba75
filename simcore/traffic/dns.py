"""Name resolution over UDP: a server's answers, and a stub resolver that asks, waits and asks again as glibc's does.

Messages are real (RFC 1035 4.1; AAAA: RFC 3596). The resolver asks for A and AAAA at once from one socket, waits `timeout`
for both answers, and makes `attempts`; where only one came it goes on with one question at a time, from a new socket
(resolv.conf(5), `single-request`, `single-request-reopen`). A lost packet is therefore seen as a lookup of five seconds.
"""
from __future__ import annotations

import ipaddress
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from simcore.net.namespace import Namespace
from simcore.transport import UdpSocket

Process = Generator[Any, Any, None]

A, AAAA, IN = 1, 28, 1
RESPONSE, AUTHORITATIVE, RECURSION_DESIRED, NXDOMAIN = 0x8000, 0x0400, 0x0100, 3
TTL = 60


@dataclass
class Lookup:
    """One name as its asker saw it."""

    name: str
    address: str = ""
    total_time: float = 0.0
    queries: int = 0                    # sent
    timeouts: int = 0
    error: str = ""


def encode_name(name: str) -> bytes:
    """A domain name as a message has it.

    Raises
    ------
    ValueError
        If a label is empty or longer than 63 bytes (RFC 1035 2.3.4).
    """
    labels = [label.encode("idna") for label in name.rstrip(".").split(".")]
    if any(not 1 <= len(label) <= 63 for label in labels):
        raise ValueError(f"{name!r} is no domain name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(number: int, name: str, kind: int) -> bytes:
    """A question for one record."""
    return struct.pack(">HHHHHH", number, RECURSION_DESIRED, 1, 0, 0, 0) + encode_name(name) + struct.pack(">HH", kind, IN)


def parse_question(message: bytes) -> tuple[int, str, int, int]:
    """Identifier, name, kind, and where the question ends.

    Raises
    ------
    ValueError
        If it is no message with one question.
    """
    if len(message) < 12 or message[4:6] != b"\0\1":
        raise ValueError("expected a message with one question")
    labels, at = [], 12
    while at < len(message) and 0 < message[at] <= 63:
        labels.append(message[at + 1:at + 1 + message[at]].decode("ascii", "replace"))
        at += 1 + message[at]
    if at + 5 > len(message) or message[at]:
        raise ValueError("the question is cut off")
    return int.from_bytes(message[:2], "big"), ".".join(labels), int.from_bytes(message[at + 1:at + 3], "big"), at + 5


def answer(message: bytes, zone: Mapping[str, str]) -> bytes:
    """What a server that knows `zone` (names to IPv4 addresses) says to a query."""
    number, name, kind, end = parse_question(message)
    address = zone.get(name.lower())
    flags = RESPONSE | AUTHORITATIVE | RECURSION_DESIRED | (NXDOMAIN if address is None else 0)
    found = address is not None and kind == A
    record = b""
    if found:
        # the name is a pointer to the question's (RFC 1035 4.1.4)
        record = struct.pack(">HHHIH", 0xC00C, A, IN, TTL, 4) + ipaddress.IPv4Address(address).packed
    return struct.pack(">HHHHHH", number, flags, 1, int(found), 0, 0) + message[12:end] + record


def serve(ns: Namespace, zone: Mapping[str, str], port: int = 53, think: float = 0.0) -> None:
    """Answer queries on a port, `think` seconds after they came."""
    env = ns.env
    sock = UdpSocket(ns, port)

    def reply(data: bytes, address: str, to: int) -> Process:
        if think:
            yield env.timeout(think)
        sock.sendto(data, address, to)

    def listen() -> Process:
        while True:
            try:
                data, address, source = yield sock.recvfrom()
                data = answer(data, zone)
            except (OSError, ValueError):
                continue                # an ICMP error of an earlier answer; something that is no query
            env.process(reply(data, address, source))

    env.process(listen())


def resolve(ns: Namespace, server: str, name: str, port: int = 53, timeout: float = 5.0, attempts: int = 2,
            single_request: bool = False, reopen: bool = False, source_port: int = 0) -> Generator[Any, Any, Lookup]:
    """Ask for a name's addresses; a SimPy process's `yield from`.

    Parameters
    ----------
    server : str
        Address.
    timeout : float
        Seconds that an answer is waited for.
    attempts : int
        How often it is tried, the first time counted.
    single_request, reopen : bool
        One question at a time; and each from a socket of its own.
    source_port : int
        Every query is sent from; 0 for ephemeral ones.
    """
    env, result, began = ns.env, Lookup(name), ns.env.now
    left = {A, AAAA}
    while attempts and left:
        try:
            sock = UdpSocket(ns, source_port)
        except OSError as error:
            result.error = str(error)
            break
        asked = sorted(left)[:1] if single_request else sorted(left)
        heard = 0
        try:
            for kind in asked:
                sock.sendto(query(kind, name, kind), server, port)
                result.queries += 1
            deadline = env.timeout(timeout)
            coming = sock.recvfrom()
            while left.intersection(asked):
                yield coming | deadline
                if not coming.triggered:
                    break
                assert coming.value is not None
                heard += _heed(coming.value[0], name, left, result)
                coming = sock.recvfrom()
                if single_request and not reopen and left and not left.intersection(asked):
                    asked = sorted(left)
                    sock.sendto(query(asked[0], name, asked[0]), server, port)
                    result.queries += 1
                    deadline = env.timeout(timeout)
        except OSError as error:
            result.error = str(error)       # ICMP says that nobody is there: the next attempt is made at once
        finally:
            sock.close()
        if not left.intersection(asked):
            continue
        if heard and not single_request:
            single_request = reopen = True  # there are servers that answer but one of two questions
        else:
            attempts -= 1
        result.timeouts += not result.error
    result.total_time = env.now - began
    if left:
        result.error = result.error or "timed out"
    elif not result.address:
        result.error = result.error or "no such name"
    else:
        result.error = ""
    return result


def _heed(message: bytes, name: str, left: set[int], result: Lookup) -> bool:
    """Take an answer into account; False if it answers nothing that was asked."""
    try:
        _, asked, kind, end = parse_question(message)
    except ValueError:
        return False
    if asked.lower() != name.rstrip(".").lower() or kind not in left:
        return False
    left.discard(kind)
    if kind == A and message[6:8] != b"\0\0" and len(message) >= end + 16:
        result.address = str(ipaddress.IPv4Address(message[end + 12:end + 16]))
    return True
