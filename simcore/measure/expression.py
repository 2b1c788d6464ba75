"""Capture filters in the language of tcpdump (pcap-filter), for what goes over these links: Ethernet, ARP, IPv4.

    tcp port 80 and not host 172.17.0.2        net 10.0.0.0/8 or arp        udp dst portrange 5000-5010 and greater 500
"""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from simcore.errors import ScenarioError

Test = Callable[[bytes], bool]

_PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "sctp": 132, "gre": 47, "esp": 50}
_WITH_PORTS = (6, 17, 132)
_WORDS = re.compile(r"\(|\)|!(?!=)|&&|\|\||[^\s()!&|]+")


def _is_ip(f: bytes) -> bool:
    return f[12:14] == b"\x08\x00" and len(f) >= 34


def _is_arp(f: bytes) -> bool:
    return f[12:14] == b"\x08\x06"


def _protocol(number: int) -> Test:
    return lambda f: _is_ip(f) and f[23] == number


def _ports(f: bytes) -> tuple[int, int] | None:
    if not _is_ip(f) or f[23] not in _WITH_PORTS or int.from_bytes(f[20:22], "big") & 0x1FFF:
        return None
    at = 14 + (f[14] & 15) * 4
    if len(f) < at + 4:
        return None
    return int.from_bytes(f[at:at + 2], "big"), int.from_bytes(f[at + 2:at + 4], "big")


def _either(direction: str, source: bool, destination: bool) -> bool:
    if direction == "src":
        return source
    if direction == "dst":
        return destination
    return source or destination


def _network(direction: str, net: ipaddress.IPv4Network) -> Test:
    mask, want = int(net.netmask), int(net.network_address)

    def test(f: bytes) -> bool:
        if _is_ip(f):
            a, b = f[26:30], f[30:34]
        elif _is_arp(f) and len(f) >= 42:
            a, b = f[28:32], f[38:42]
        else:
            return False
        return _either(direction, int.from_bytes(a, "big") & mask == want, int.from_bytes(b, "big") & mask == want)
    return test


def _port(direction: str, low: int, high: int) -> Test:
    def test(f: bytes) -> bool:
        p = _ports(f)
        return p is not None and _either(direction, low <= p[0] <= high, low <= p[1] <= high)
    return test


class _Parser:
    """Recursive descent; `and` and `or` have equal rank and go left to right, `not` binds tighter, as in tcpdump."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = _WORDS.findall(text)
        self.at = 0

    def fail(self, expected: str) -> ScenarioError:
        seen = repr(self.words[self.at]) if self.at < len(self.words) else "the end"
        return ScenarioError(f"filter {self.text!r}: expected {expected}, found {seen}")

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self) -> str:
        self.at += 1
        return self.words[self.at - 1] if self.at <= len(self.words) else ""

    def expression(self) -> Test:
        left = self.factor()
        while self.peek() in ("and", "or", "&&", "||"):
            word = self.take()
            right = self.factor()
            left = self.both(left, right) if word in ("and", "&&") else self.any(left, right)
        return left

    @staticmethod
    def both(a: Test, b: Test) -> Test:
        return lambda f: a(f) and b(f)

    @staticmethod
    def any(a: Test, b: Test) -> Test:
        return lambda f: a(f) or b(f)

    def factor(self) -> Test:
        if self.peek() in ("not", "!"):
            self.take()
            inner = self.factor()
            return lambda f: not inner(f)
        if self.peek() == "(":
            self.take()
            inner = self.expression()
            if self.take() != ")":
                self.at -= 1
                raise self.fail("')'")
            return inner
        return self.primitive()

    def primitive(self) -> Test:
        tests: list[Test] = []
        word = self.peek()
        if word in ("ip", "arp", *_PROTOCOLS):
            self.take()
            tests.append(_is_ip if word == "ip" else _is_arp if word == "arp" else _protocol(_PROTOCOLS[word]))
            if self.peek() not in ("src", "dst", "host", "net", "port", "portrange"):
                return tests[0]
        if self.peek() in ("greater", "less"):
            word, n = self.take(), self.number(0xFFFFFFFF)
            return (lambda f: len(f) >= n) if word == "greater" else (lambda f: len(f) <= n)
        direction = self.take() if self.peek() in ("src", "dst") else ""
        kind = self.take() if self.peek() in ("host", "net", "port", "portrange") else "host" if direction else ""
        if kind == "host":
            tests.append(_network(direction, self.network(host=True)))
        elif kind == "net":
            tests.append(_network(direction, self.network(host=False)))
        elif kind == "port":
            n = self.number(65535)
            tests.append(_port(direction, n, n))
        elif kind == "portrange":
            low, _, high = self.take().partition("-")
            if not (low.isdigit() and high.isdigit() and int(low) <= int(high) <= 65535):
                self.at -= 1
                raise self.fail("a range of ports, as 5000-5010")
            tests.append(_port(direction, int(low), int(high)))
        else:
            raise self.fail("a protocol, host, net, port, portrange, src, dst, greater, less, not or '('")
        return tests[0] if len(tests) == 1 else self.both(tests[0], tests[1])

    def number(self, most: int) -> int:
        word = self.take()
        if not word.isdigit() or int(word) > most:
            self.at -= 1
            raise self.fail(f"a number up to {most}")
        return int(word)

    def network(self, host: bool) -> ipaddress.IPv4Network:
        word = self.take()
        try:
            if host and "/" in word:
                raise ValueError
            return ipaddress.IPv4Network(word)
        except ValueError:
            self.at -= 1
            raise self.fail("an IPv4 address" if host else "a network, as 172.17.0.0/16") from None


def compile_filter(text: str) -> Test:
    """A function that says whether a frame passes.

    Raises
    ------
    ScenarioError
        With what was expected where, if the text is no filter.
    """
    parser = _Parser(text)
    test = parser.expression()
    if parser.at != len(parser.words):
        raise parser.fail("'and', 'or' or the end")
    return test
