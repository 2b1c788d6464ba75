"""What stands behind the options of iptables' rules, read into numbers. ValueError says what is wrong with a text."""
from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

PROTOCOL_NAMES = {0: "all", 1: "icmp", 2: "igmp", 4: "ipencap", 6: "tcp", 17: "udp", 33: "dccp", 41: "ipv6", 47: "gre", 50: "esp",
                  51: "ah", 89: "ospf", 108: "ipcomp", 132: "sctp", 136: "udplite"}
PROTOCOLS = {**{name: n for n, name in PROTOCOL_NAMES.items()}, "ipip": 4}
SERVICES = {"ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "tftp": 69, "http": 80, "pop3": 110, "ntp": 123,
            "imap2": 143, "snmp": 161, "ldap": 389, "https": 443, "submission": 587, "ldaps": 636, "imaps": 993, "pop3s": 995,
            "mysql": 3306, "postgresql": 5432, "amqp": 5672, "redis": 6379, "http-alt": 8080}
"""Ports that rules written by hand call by name (IANA's registry); iptables-save gives numbers."""
ADDRTYPES = {"UNSPEC": 1, "UNICAST": 2, "LOCAL": 4, "BROADCAST": 8, "ANYCAST": 16, "MULTICAST": 32,
             "BLACKHOLE": 64, "UNREACHABLE": 128, "PROHIBIT": 256}
STATES = {"INVALID": 1, "ESTABLISHED": 2, "RELATED": 4, "NEW": 8, "UNTRACKED": 16}
CTSTATES = {**STATES, "SNAT": 32, "DNAT": 64}
CTSTATUS = {"NONE": 1, "EXPECTED": 2, "SEEN_REPLY": 4, "ASSURED": 8, "CONFIRMED": 16}
TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}
ICMP_TYPES = {
    "any": (255, None), "echo-reply": (0, None), "pong": (0, None), "destination-unreachable": (3, None), "network-unreachable": (3, 0),
    "host-unreachable": (3, 1), "protocol-unreachable": (3, 2), "port-unreachable": (3, 3), "fragmentation-needed": (3, 4),
    "source-route-failed": (3, 5), "network-unknown": (3, 6), "host-unknown": (3, 7), "network-prohibited": (3, 9),
    "host-prohibited": (3, 10), "TOS-network-unreachable": (3, 11), "TOS-host-unreachable": (3, 12),
    "communication-prohibited": (3, 13), "host-precedence-violation": (3, 14), "precedence-cutoff": (3, 15),
    "source-quench": (4, None), "redirect": (5, None), "network-redirect": (5, 0), "host-redirect": (5, 1),
    "TOS-network-redirect": (5, 2), "TOS-host-redirect": (5, 3), "echo-request": (8, None), "ping": (8, None),
    "router-advertisement": (9, None), "router-solicitation": (10, None), "time-exceeded": (11, None), "ttl-exceeded": (11, None),
    "ttl-zero-during-transit": (11, 0), "ttl-zero-during-reassembly": (11, 1), "parameter-problem": (12, None),
    "ip-header-bad": (12, 0), "required-option-missing": (12, 1), "timestamp-request": (13, None), "timestamp-reply": (14, None),
    "address-mask-request": (17, None), "address-mask-reply": (18, None)}
REJECT_WITH = {"icmp-net-unreachable": 0, "icmp-host-unreachable": 1, "icmp-proto-unreachable": 2,
               "icmp-port-unreachable": 3, "icmp-net-prohibited": 9, "icmp-host-prohibited": 10,
               "icmp-admin-prohibited": 13, "tcp-reset": 100, "net-unreach": 0, "host-unreach": 1, "proto-unreach": 2,
               "port-unreach": 3, "net-prohib": 9, "host-prohib": 10, "admin-prohib": 13, "tcp-rst": 100}
LOG_LEVELS = {"emerg": 0, "panic": 0, "alert": 1, "crit": 2, "err": 3, "error": 3, "warning": 4, "warn": 4, "notice": 5,
              "info": 6, "debug": 7}
UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
DSCP = {**{f"CS{k}": 8 * k for k in range(8)}, **{f"AF{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)}, "BE": 0, "EF": 46}
"""Classes of RFC 2474, 2597 and 3246."""
TOS = {"Minimize-Delay": 16, "Maximize-Throughput": 8, "Maximize-Reliability": 4, "Minimize-Cost": 2, "Normal-Service": 0}
"""Services of RFC 1349."""

Read = Callable[[str], object]


def anything(text: str) -> str:
    return text


def nonempty(text: str) -> str:
    if not text:
        raise ValueError("expected something, got ''")
    return text


def _as_c(text: str, what: str = "a number") -> int:
    """As strtoul reads it: decimal, hexadecimal behind 0x, octal behind 0."""
    try:
        return int(text, 8) if text[:1] == "0" and text[1:2].isdigit() else int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is not {what}") from None


def number(low: int = 0, high: int = 0xFFFFFFFF) -> Callable[[str], int]:
    """A reader of numbers from `low` to `high`."""
    def read(text: str) -> int:
        n = _as_c(text)
        if not low <= n <= high:
            raise ValueError(f"{text} is out of range {low}-{high}")
        return n
    return read


word32, byte, dscp, prefix = number(), number(high=255), number(high=63), number(high=32)


def prefix_mask(length: int) -> int:
    """The mask of a network of this prefix length."""
    return 0xFFFFFFFF << 32 - length & 0xFFFFFFFF


def address(text: str) -> tuple[int, int]:
    """`a.b.c.d[/len]` or `a.b.c.d/m.m.m.m`, whatever bits the mask has, as (address, mask)."""
    host, slash, length = text.partition("/")
    try:
        a = int(ipaddress.IPv4Address(host))
        if not slash:
            return a, 0xFFFFFFFF
        mask = int(ipaddress.IPv4Address(length)) if "." in length else prefix_mask(prefix(length))
    except ValueError:
        raise ValueError(f"{text!r} is not an IPv4 address or network") from None
    return a & mask, mask


def network(a: int, mask: int) -> str:
    """An address and its mask, as iptables-save writes them."""
    length = mask.bit_count()
    return f"{ipaddress.IPv4Address(a)}/{length if mask == prefix_mask(length) else ipaddress.IPv4Address(mask)}"


def port(text: str) -> int:
    """A port's number, or its name if it is one of `SERVICES`."""
    if text in SERVICES:
        return SERVICES[text]
    n = _as_c(text, "a port or range of ports")
    if not 0 <= n <= 65535:
        raise ValueError(f"port {text!r} is out of range 0-65535")
    return n


def span(text: str, read: Callable[[str], int] = port) -> tuple[int, int]:
    """`n`, `n:m`, `n:` or `:m` as (low, high), in whatever order: a range that runs backwards holds nothing."""
    low, found, high = text.partition(":")
    a = read(low) if low or not found else 0
    return a, read(high) if high else (65535 if found else a)


def lengths(text: str) -> tuple[int, int]:
    """A range of packet lengths, in bytes."""
    return span(text, number(high=65535))


def _ascending(a: int, b: int, text: str) -> tuple[int, int]:
    """A range that is not empty."""
    if a > b:
        raise ValueError(f"range {text} runs backwards")
    return a, b


def ports(text: str) -> tuple[int, int]:
    """A range of ports that is not empty."""
    return _ascending(*span(text), text)


def to_ports(text: str) -> tuple[int, int]:
    """The ports of a target, `n[-m]`."""
    low, dash, high = text.partition("-")
    a = port(low)
    return _ascending(a, port(high) if dash else a, text)


def multiports(text: str) -> list[tuple[int, int]]:
    """Up to 15 ports, a range counting for two."""
    ranges = [ports(w) for w in text.split(",")]
    if sum(1 + (":" in w) for w in text.split(",")) > 15:
        raise ValueError("multiport takes at most 15 ports")
    return ranges


def named(text: str, known: Iterable[str], what: str, abbreviated: bool = False) -> str:
    """The name that `text` is, in whatever case; or the first that it is the beginning of, where names may be abbreviated."""
    names = list(known)
    for name in names:
        if name.lower() == text.lower():
            return name
    for name in names:
        if abbreviated and text and name.lower().startswith(text.lower()):
            return name
    raise ValueError(f"{text!r} is not {what}; expected one of {', '.join(names)}")


def one_of(known: Iterable[str], what: str) -> Callable[[str], str]:
    """A reader of names."""
    names = tuple(known)
    return lambda text: named(text, names, what)


def answer(text: str) -> int:
    """What REJECT answers with."""
    return REJECT_WITH[named(text, REJECT_WITH, "an answer", abbreviated=True)]


def names_mask(known: dict[str, int], what: str, abbreviated: bool = True) -> Callable[[str], int]:
    """A reader of lists of names, each of which stands for a bit."""
    def read(text: str) -> int:
        mask = 0
        for word in text.split(","):
            mask |= known[named(word, known, what, abbreviated)]
        return mask
    return read


address_types = names_mask(ADDRTYPES, "an address type")
connection_states = names_mask(CTSTATES, "a connection state")
packet_states = names_mask(STATES, "a connection state")
connection_status = names_mask(CTSTATUS, "a connection status")


def protocol_number(text: str) -> int:
    """A protocol's name or number."""
    if text[:1].isdigit():
        return byte(text)
    if text.lower() not in PROTOCOLS:
        raise ValueError(f"{text!r} is not a protocol: expected a number or one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[text.lower()]


def _addresses(text: str) -> tuple[int, int]:
    """`ADDRESS[-ADDRESS]` as numbers, in whatever order; ValueError if it is none."""
    low, dash, high = text.partition("-")
    a = int(ipaddress.IPv4Address(low))
    return a, int(ipaddress.IPv4Address(high)) if dash else a


def address_range(text: str) -> tuple[int, int]:
    """`ADDRESS[-ADDRESS]` as (first, last)."""
    try:
        a, b = _addresses(text)
    except ValueError:
        raise ValueError(f"{text!r} is not ADDRESS[-ADDRESS]") from None
    return _ascending(a, b, text)


def nat_target(text: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None, int | None]:
    """`addr[-addr][:port[-port[/base]]]` as (addresses, ports, the port of the packet that gets the first of them)."""
    addresses, found, rest = text.partition(":")
    rest, slash, base = rest.partition("/")
    of_ports = to_ports(rest) if found else None
    of_base = port(base) if slash else None
    if slash and "-" not in rest:
        raise ValueError(f"{text!r}: a base port goes with a range of ports")
    if not addresses:
        return None, of_ports, of_base
    try:
        a, b = _addresses(addresses)
    except ValueError:
        raise ValueError(f"{text!r} is not ADDRESS[-ADDRESS][:PORT[-PORT]]") from None
    return (min(a, b), max(a, b)), of_ports, of_base


def dscp_class(text: str) -> int:
    """A class's name as its number."""
    if text.upper() not in DSCP:
        raise ValueError(f"{text!r} is not a DSCP class; expected one of {', '.join(DSCP)}")
    return DSCP[text.upper()]


def value_mask(high: int = 0xFFFFFFFF) -> Callable[[str], tuple[int, int]]:
    """A reader of `value[/mask]`, numbers up to `high`, which is also the mask if none is given."""
    read_number = number(high=high)

    def read(text: str) -> tuple[int, int]:
        v, found, m = text.partition("/")
        return read_number(v), read_number(m) if found else high
    return read


mark = value_mask()
_whole_byte = value_mask(255)


def tos(text: str) -> tuple[int, int]:
    """`value[/mask]` of the whole byte, or a service's name, which leaves out the two bits of ECN."""
    return (TOS[named(text, TOS, "a type of service")], 0x3F) if text[:1].isalpha() else _whole_byte(text)


def tcp_flags(text: str) -> tuple[int, int]:
    """`MASK COMP`, each a list of flags, ALL or NONE."""
    read = names_mask(TCP_FLAGS, "a TCP flag")
    out = [63 if part == "ALL" else 0 if part == "NONE" else read(part) for part in text.split(" ")]
    return out[0], out[1]


def icmp_type(text: str) -> tuple[int, int, int]:
    """Type, lowest and highest code; type 255 is any."""
    if not text[:1].isdigit():
        kind, code = ICMP_TYPES[named(text, ICMP_TYPES, "an ICMP type", abbreviated=True)]
        return kind, 0 if code is None else code, 255 if code is None else code
    kind_text, found, code_text = text.partition("/")
    kind = byte(kind_text)
    if found:
        c = byte(code_text)
        return kind, c, c
    return kind, 0, 255


def rate_per(text: str, most: int = 1000000) -> tuple[float, int]:
    """`n/unit` as events per second, at most a million of them, and the unit's seconds."""
    n, found, unit = text.partition("/")
    per = UNITS[named(unit, UNITS, "a unit of time", abbreviated=True)] if found else 1
    count = word32(n)
    if count == 0:
        raise ValueError("a limit of 0 is not a rate")
    if count > most * per:
        raise ValueError(f"{text} is more than {most} a second")
    return count / per, per


def rate(text: str) -> float:
    """`n/unit` as events per second, at most 10 000 of them."""
    return rate_per(text, 10000)[0]


def probability(text: str) -> float:
    try:
        p = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not 0 <= p <= 1:
        raise ValueError(f"probability {text} is out of range 0-1")
    return p


def file_name(text: str) -> str:
    """The name of a table that the kernel shows as a file."""
    if not text or "/" in text or len(text) > 255:
        raise ValueError(f"{text!r} is not a table's name")
    return text


def interface(text: str) -> str:
    """An interface's name, or with `+` behind it what names begin with."""
    if not 0 < len(text) < 16:
        raise ValueError(f"{text!r} is not an interface's name: expected 1 to 15 characters")
    return text


def log_level(text: str) -> int:
    """A level's name or number."""
    if text not in LOG_LEVELS and not text.isdigit():
        raise ValueError(f"{text!r} is not a log level; expected one of {', '.join(LOG_LEVELS)}")
    return LOG_LEVELS[text] if text in LOG_LEVELS else number(high=7)(text)
