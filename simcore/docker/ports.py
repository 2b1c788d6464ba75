"""Published ports, in the forms that a Compose file has for them."""
from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, NamedTuple


class PublishedPort(NamedTuple):
    """A container's port, and where on the host it shall be reached."""

    address: str                    # "": as the network says, or all of the host's
    low: int                        # the first free of these host ports
    high: int
    port: int
    protocol: str

    @property
    def is_ipv6(self) -> bool:
        """Whether it is one of the host's IPv6 addresses that it is published on."""
        return ":" in self.address


EVERYWHERE = "0.0.0.0"              # all of the host's addresses, whatever the network says
EPHEMERAL = 32768, 60999            # host ports for those that ask for none, as Docker takes them


def parse_port(value: str | dict[str, Any]) -> list[PublishedPort]:
    """A port in Compose's short form, `[[address:]host:]container[/protocol]` with ranges as 8000-8010, or in its long one.

    As many as the container's range has ports. One container port takes the first free one of a range on the host.

    Raises
    ------
    ValueError
    """
    if isinstance(value, dict):
        if "target" not in value:
            raise ValueError("a port needs 'target', the container's port")
        text = f"{value['target']}/{value.get('protocol', 'tcp')}"
        if value.get("published"):
            text = f"{value['published']}:{text}"
            if where := str(value.get("host_ip") or ""):
                text = f"[{where}]:{text}" if ":" in where else f"{where}:{text}"
    else:
        text = value
    rest, _, protocol = text.partition("/")
    parts = _parts(rest)
    if len(parts) > 3 or protocol not in ("", "tcp", "udp"):
        raise ValueError(f"{text!r} is not a published port, as 8080:80 or 127.0.0.1:53:53/udp")

    def span(part: str) -> tuple[int, int]:
        ends = part.split("-")
        if len(ends) > 2 or not all(e.isdecimal() for e in ends):
            raise ValueError(f"{text!r} is not a published port, as 8080:80 or 127.0.0.1:53:53/udp")
        low, high = int(ends[0]), int(ends[-1])
        for n in (low, high):
            if not 1 <= n <= 65535:
                raise ValueError(f"{text!r}: port {n} is out of range 1-65535")
        if high < low:
            raise ValueError(f"{text!r}: {part} is no range: it ends before it begins")
        return low, high

    address = parts[0] if len(parts) == 3 else ""
    if address:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise ValueError(f"{text!r}: {address!r} is not an IP address") from None
    low, high = span(parts[-1])
    host = span(parts[-2]) if len(parts) > 1 and parts[-2] else EPHEMERAL
    if low == high or host == EPHEMERAL:
        return [PublishedPort(address, *host, port, protocol or "tcp") for port in range(low, high + 1)]
    if high - low != host[1] - host[0]:
        raise ValueError(f"{text!r}: {parts[-2]} and {parts[-1]} are not of one length")
    return [PublishedPort(address, host[0] + i, host[0] + i, low + i, protocol or "tcp") for i in range(high - low + 1)]


def _parts(text: str) -> list[str]:
    """What the colons separate; those of an IPv6 address, which stands in brackets, do not."""
    address, bracket, rest = text[1:].partition("]:") if text.startswith("[") else ("", "", text)
    return [address, *rest.split(":")] if bracket else rest.split(":")


class Wanted(NamedTuple):
    """A port that a container shall be reached by; `key` is where the file says so."""

    key: str
    container: str
    port: PublishedPort


def place(wanted: Sequence[Wanted]) -> list[tuple[Wanted, int]]:
    """The host port that each gets; who wants a certain one has it, the others come after them.

    Raises
    ------
    ValueError
        `KEY: what is wrong`, if none is left for one.
    """
    taken: dict[tuple[int, str], list[tuple[str, str]]] = {}        # (host port, protocol) -> (address, container) of each that has it
    found: dict[int, int] = {}
    everywhere = "", EVERYWHERE
    for n, (key, container, p) in sorted(enumerate(wanted), key=lambda w: w[1].port.low != w[1].port.high):
        for host in range(p.low, p.high + 1):
            others = taken.setdefault((host, p.protocol), [])
            owner = next((who for address, who in others if address in everywhere or p.address in (*everywhere, address)), None)
            if owner is None:
                break
        else:
            ports = f"port {p.low}/{p.protocol} is" if p.low == p.high else f"ports {p.low}-{p.high}/{p.protocol} are"
            raise ValueError(f"{key}: {ports} already published by {owner}")
        others.append((p.address, container))
        found[n] = host
    return [(w, found[n]) for n, w in enumerate(wanted)]
