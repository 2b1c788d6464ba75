"""iptables rules: `iptables-save` text to rules and back.

A rule is kept as it is written, match by match, so that `Rules.to_iptables_save` gives text that
iptables-restore takes. `filter.pyx` compiles rules for the packet path. Whatever is not understood is an
error that names line and token: a firewall rule must not be ignored.
"""
from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from natfast.errors import RulesError

HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
BUILTIN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": HOOKS,
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
PROTOCOLS = {"all": 0, "icmp": 1, "igmp": 2, "ipip": 4, "ipencap": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50,
             "ah": 51, "ospf": 89, "sctp": 132, "udplite": 136, "dccp": 33}
PROTOCOL_NAMES = {0: "all", 1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah",
                  89: "ospf", 132: "sctp", 136: "udplite", 33: "dccp", 4: "ipencap"}
ADDRTYPES = {"UNSPEC": 1, "UNICAST": 2, "LOCAL": 4, "BROADCAST": 8, "ANYCAST": 16, "MULTICAST": 32,
             "BLACKHOLE": 64, "UNREACHABLE": 128, "PROHIBIT": 256}
CTSTATES = {"INVALID": 1, "ESTABLISHED": 2, "RELATED": 4, "NEW": 8, "UNTRACKED": 16, "SNAT": 32, "DNAT": 64}
CTSTATUS = {"NONE": 1, "EXPECTED": 2, "SEEN_REPLY": 4, "ASSURED": 8, "CONFIRMED": 16}
TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32}
ICMP_TYPES = {
    "echo-reply": (0, None), "destination-unreachable": (3, None), "network-unreachable": (3, 0),
    "host-unreachable": (3, 1), "protocol-unreachable": (3, 2), "port-unreachable": (3, 3),
    "fragmentation-needed": (3, 4), "source-quench": (4, None), "redirect": (5, None), "echo-request": (8, None),
    "time-exceeded": (11, None), "ttl-zero-during-transit": (11, 0), "ttl-zero-during-reassembly": (11, 1),
    "parameter-problem": (12, None), "timestamp-request": (13, None), "timestamp-reply": (14, None),
    "address-mask-request": (17, None), "address-mask-reply": (18, None), "any": (255, None)}
REJECT_WITH = {"icmp-net-unreachable": 0, "icmp-host-unreachable": 1, "icmp-proto-unreachable": 2,
               "icmp-port-unreachable": 3, "icmp-net-prohibited": 9, "icmp-host-prohibited": 10,
               "icmp-admin-prohibited": 13, "tcp-reset": 100}
UNITS = {"second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "m": 60, "hour": 3600, "h": 3600, "day": 86400,
         "d": 86400}



@dataclass(frozen=True)
class Match:
    """One `-m` match: its options as (name, negated, value) in the order of iptables-save."""

    module: str
    options: tuple[tuple[str, bool, str], ...]

    def text(self) -> str:
        words = [f"-m {self.module}"]
        for name, negated, value in self.options:
            words.append(("! " if negated else "") + name + (f" {value}" if value else ""))
        return " ".join(words)


@dataclass(frozen=True)
class Rule:
    """One rule of a chain; `target` is a builtin target, a chain, or None (counts only)."""

    line: int = 0
    source: tuple[bool, str] | None = None
    destination: tuple[bool, str] | None = None
    iif: tuple[bool, str] | None = None
    oif: tuple[bool, str] | None = None
    protocol: tuple[bool, int] | None = None
    fragment: bool | None = None
    matches: tuple[Match, ...] = ()
    target: str | None = None
    goto: bool = False
    options: tuple[tuple[str, bool, str], ...] = ()

    def text(self, chain: str) -> str:
        """The rule as iptables-save writes it."""
        words = [f"-A {chain}"]
        for flag, given in (("-s", self.source), ("-d", self.destination), ("-i", self.iif), ("-o", self.oif)):
            if given is not None:
                words.append(("! " if given[0] else "") + f"{flag} {given[1]}")
        if self.protocol is not None:
            words.append(("! " if self.protocol[0] else "") + f"-p {PROTOCOL_NAMES.get(self.protocol[1], self.protocol[1])}")
        if self.fragment is not None:
            words.append("-f" if self.fragment else "! -f")
        words += [m.text() for m in self.matches]
        if self.target is not None:
            words.append(f"{'-g' if self.goto else '-j'} {self.target}")
            for name, _, value in self.options:
                words.append(f"{name} {value}" if value else name)
        return " ".join(words)


@dataclass
class Chain:
    """Rules in order; `policy` is ACCEPT or DROP for a builtin chain, None for a user chain."""

    name: str
    policy: str | None = None
    rules: list[Rule] = field(default_factory=list)


Counts = dict[tuple[str, str], list[tuple[int, int]]]
"""(table, chain) -> (packets, bytes) that came to the chain's end, where its policy decides, then of each of its rules."""


@dataclass
class Rules:
    """A ruleset: table -> chain name -> chain.

    Examples
    --------
    >>> text = '''*nat
    ... :PREROUTING ACCEPT [0:0]
    ... :POSTROUTING ACCEPT [0:0]
    ... -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    ... COMMIT'''
    >>> Rules.from_iptables_save(text).tables["nat"]["POSTROUTING"].rules[0].target
    'MASQUERADE'
    """

    tables: dict[str, dict[str, Chain]] = field(default_factory=dict)

    @classmethod
    def from_iptables_save(cls, text: str, name: str = "rules") -> Rules:
        """Parse `iptables-save` text.

        Raises
        ------
        RulesError
            Naming `name`, line and token of what is not understood.
        """
        return _Parser(text, name).parse()

    def to_iptables_save(self, counts: Counts | None = None) -> str:
        """Text that `iptables-restore` takes and `from_iptables_save` reads back to an equal ruleset.

        With `counts` as `iptables-save -c` prints it.
        """
        out = []
        for table, chains in self.tables.items():
            out.append(f"*{table}")
            for c in chains.values():
                packets, octets = counts[table, c.name][0] if counts is not None else (0, 0)
                out.append(f":{c.name} {c.policy or '-'} [{packets}:{octets}]")
            for c in chains.values():
                of_rules = [""] * len(c.rules) if counts is None else [f"[{p}:{b}] " for p, b in counts[table, c.name][1:]]
                out += [count + rule.text(c.name) for count, rule in zip(of_rules, c.rules, strict=True)]
            out.append("COMMIT")
        return "\n".join(out) + "\n"

    def stopped(self, counts: Counts) -> dict[str, int]:
        """How many packets each rule that drops or rejects has stopped, and each policy, as one would give it to iptables."""
        out = dict[str, int]()
        for table, chains in self.tables.items():
            where = "" if table == "filter" else f"-t {table} "
            for c in chains.values():
                at_the_end, *of_rules = (packets for packets, _ in counts[table, c.name])
                for rule, packets in zip(c.rules, of_rules, strict=True):
                    if rule.target in ("DROP", "REJECT") and packets:
                        text = where + rule.text(c.name)
                        out[text] = out.get(text, 0) + packets
                if c.policy == "DROP" and at_the_end:
                    out[f"{where}-P {c.name} DROP"] = at_the_end
        return out

    def add(self, table: str, chain: str, text: str) -> None:
        """Append a rule written as `iptables` arguments after the chain's name."""
        chains = self.tables.setdefault(table, {})
        if chain not in chains:
            chains[chain] = Chain(chain, "ACCEPT" if chain in BUILTIN[table] else None)
        parser = _Parser("", "rule")
        chains[chain].rules.append(parser.rule(shlex.split(text), table))


class _Tokens:
    """The words of one rule, read left to right, with negation."""

    def __init__(self, words: list[str], fail: Callable[[str], RulesError]) -> None:
        self.words, self.at, self.fail = words, 0, fail

    def __iter__(self) -> Iterator[str]:
        while self.at < len(self.words):
            self.at += 1
            yield self.words[self.at - 1]

    def value(self, option: str) -> str:
        if self.at >= len(self.words):
            raise self.fail(f"{option} needs a value")
        self.at += 1
        return self.words[self.at - 1]


def address(text: str, fail: Callable[[str], RulesError]) -> tuple[int, int]:
    """`a.b.c.d[/len]` as (address, mask)."""
    try:
        net = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise fail(f"{text!r} is not an IPv4 address or network") from None
    return int(net.network_address), int(net.netmask)


def port_range(text: str, fail: Callable[[str], RulesError], sep: str = ":") -> tuple[int, int]:
    """`n`, `n:m`, `n:` or `:m` as (low, high)."""
    low, found, high = text.partition(sep)
    try:
        a = int(low) if low or not found else 0
        b = int(high) if high else (65535 if found else a)
    except ValueError:
        raise fail(f"{text!r} is not a port or range of ports") from None
    if not (0 <= a <= 65535 and 0 <= b <= 65535):
        raise fail(f"port {text!r} is out of range 0-65535")
    return a, b


def names_mask(text: str, known: dict[str, int], what: str, fail: Callable[[str], RulesError]) -> int:
    mask = 0
    for word in text.split(","):
        if word not in known:
            raise fail(f"{word!r} is not {what}; expected one of {', '.join(known)}")
        mask |= known[word]
    return mask


def _number(text: str, fail: Callable[[str], RulesError], top: int = 0xFFFFFFFF) -> int:
    try:
        n = int(text, 0)
    except ValueError:
        raise fail(f"{text!r} is not a number") from None
    if not 0 <= n <= top:
        raise fail(f"{text} is out of range 0-{top}")
    return n


def protocol_number(text: str, fail: Callable[[str], RulesError]) -> int:
    """A protocol's name or number."""
    return PROTOCOLS[text] if text in PROTOCOLS else _number(text, fail, 255)


def _span(text: str) -> tuple[int, int]:
    """`ADDRESS[-ADDRESS]` as numbers, in whatever order; ValueError if it is none."""
    low, dash, high = text.partition("-")
    a = int(ipaddress.IPv4Address(low))
    return a, int(ipaddress.IPv4Address(high)) if dash else a


def address_range(text: str, fail: Callable[[str], RulesError]) -> tuple[int, int]:
    """`ADDRESS[-ADDRESS]` as (first, last)."""
    try:
        a, b = _span(text)
    except ValueError:
        raise fail(f"{text!r} is not ADDRESS[-ADDRESS]") from None
    if a > b:
        raise fail(f"range {text} runs backwards")
    return a, b


DSCP = {**{f"CS{k}": 8 * k for k in range(8)}, **{f"AF{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)}, "BE": 0, "EF": 46}
"""Classes of RFC 2474, 2597 and 3246."""


def dscp_class(text: str, fail: Callable[[str], RulesError]) -> int:
    """A class's name as its number."""
    if text.upper() not in DSCP:
        raise fail(f"{text!r} is not a DSCP class; expected one of {', '.join(DSCP)}")
    return DSCP[text.upper()]


def dscp(text: str, fail: Callable[[str], RulesError]) -> int:
    """Six bits."""
    return _number(text, fail, 63)


def tos(text: str, fail: Callable[[str], RulesError]) -> tuple[int, int]:
    """`value[/mask]` of the whole byte."""
    return value_mask(text, fail, 255)


def value_mask(text: str, fail: Callable[[str], RulesError], top: int = 0xFFFFFFFF) -> tuple[int, int]:
    """`value[/mask]` of numbers up to `top`, which is also the mask if none is given."""
    v, found, m = text.partition("/")
    return _number(v, fail, top), (_number(m, fail, top) if found else top)


Check = Callable[[str, Callable[[str], RulesError]], object]


def _any(text: str, fail: Callable[[str], RulesError]) -> object:
    return text


def _ports(text: str, fail: Callable[[str], RulesError]) -> object:
    return port_range(text, fail)


def multiports(text: str, fail: Callable[[str], RulesError]) -> list[tuple[int, int]]:
    """Up to 15 ports, a range counting for two."""
    ranges = [port_range(w, fail) for w in text.split(",")]
    if sum(1 + (":" in w) for w in text.split(",")) > 15:
        raise fail("multiport takes at most 15 ports")
    return ranges


def tcp_flags(text: str, fail: Callable[[str], RulesError]) -> tuple[int, int]:
    """`MASK COMP`, each a list of flags, ALL or NONE."""
    parts = text.split()
    out = []
    for part in parts:
        if part == "ALL":
            out.append(63)
        elif part == "NONE":
            out.append(0)
        else:
            out.append(names_mask(part, TCP_FLAGS, "a TCP flag", fail))
    return out[0], out[1]


def icmp_type(text: str, fail: Callable[[str], RulesError]) -> tuple[int, int, int]:
    """Type, lowest and highest code; type 255 is any."""
    if text in ICMP_TYPES:
        kind, code = ICMP_TYPES[text]
        return kind, 0 if code is None else code, 255 if code is None else code
    kind_text, found, code_text = text.partition("/")
    kind = _number(kind_text, fail, 255)
    if found:
        c = _number(code_text, fail, 255)
        return kind, c, c
    return kind, 0, 255


def rate(text: str, fail: Callable[[str], RulesError]) -> float:
    """`n/unit` as events per second."""
    n, found, unit = text.partition("/")
    if found and unit not in UNITS:
        raise fail(f"{unit!r} is not a unit of time")
    count = _number(n, fail)
    if count == 0:
        raise fail("a limit of 0 is not a rate")
    return count / (UNITS[unit] if found else 1)


def _addr(text: str, fail: Callable[[str], RulesError]) -> object:
    return address(text, fail)


def _one_of(*allowed: str) -> Check:
    def check(text: str, fail: Callable[[str], RulesError]) -> object:
        if text not in allowed:
            raise fail(f"expected {' or '.join(allowed)}, got {text!r}")
        return text
    return check


def _float(text: str, fail: Callable[[str], RulesError]) -> object:
    try:
        p = float(text)
    except ValueError:
        raise fail(f"{text!r} is not a number") from None
    if not 0 <= p <= 1:
        raise fail(f"probability {text} is out of range 0-1")
    return p


def _num(text: str, fail: Callable[[str], RulesError]) -> object:
    return _number(text, fail)


# match module -> option -> (number of words, check); the options' order is iptables-save's
MATCHES: dict[str, dict[str, tuple[int, Check]]] = {
    "tcp": {"--sport": (1, _ports), "--dport": (1, _ports), "--tcp-flags": (2, tcp_flags), "--syn": (0, _any),
            "--tcp-option": (1, _num)},
    "udp": {"--sport": (1, _ports), "--dport": (1, _ports)},
    "sctp": {"--sport": (1, _ports), "--dport": (1, _ports)},
    "udplite": {"--sport": (1, _ports), "--dport": (1, _ports)},
    "icmp": {"--icmp-type": (1, icmp_type)},
    "multiport": {"--sports": (1, multiports), "--dports": (1, multiports), "--ports": (1, multiports)},
    "addrtype": {"--src-type": (1, lambda t, f: names_mask(t, ADDRTYPES, "an address type", f)),
                 "--dst-type": (1, lambda t, f: names_mask(t, ADDRTYPES, "an address type", f))},
    "conntrack": {"--ctstate": (1, lambda t, f: names_mask(t, CTSTATES, "a connection state", f)),
                  "--ctproto": (1, protocol_number), "--ctorigsrc": (1, _addr), "--ctorigdst": (1, _addr),
                  "--ctreplsrc": (1, _addr), "--ctrepldst": (1, _addr), "--ctorigsrcport": (1, _ports),
                  "--ctorigdstport": (1, _ports), "--ctreplsrcport": (1, _ports), "--ctrepldstport": (1, _ports),
                  "--ctstatus": (1, lambda t, f: names_mask(t, CTSTATUS, "a connection status", f)),
                  "--ctdir": (1, _one_of("ORIGINAL", "REPLY"))},
    "state": {"--state": (1, lambda t, f: names_mask(t, CTSTATES, "a connection state", f))},
    "mark": {"--mark": (1, value_mask)},
    "limit": {"--limit": (1, rate), "--limit-burst": (1, _num)},
    "statistic": {"--mode": (1, _one_of("random", "nth")), "--probability": (1, _float), "--every": (1, _num),
                  "--packet": (1, _num)},
    "comment": {"--comment": (1, _any)},
    "physdev": {"--physdev-in": (1, _any), "--physdev-out": (1, _any), "--physdev-is-bridged": (0, _any)},
    "length": {"--length": (1, _ports)},
    "iprange": {"--src-range": (1, address_range), "--dst-range": (1, address_range)},
    "dscp": {"--dscp": (1, dscp), "--dscp-class": (1, dscp_class)},
    "tos": {"--tos": (1, tos)},
    "ttl": {"--ttl-eq": (1, _num), "--ttl-gt": (1, _num), "--ttl-lt": (1, _num)},
}
ALIASES = {"--source-port": "--sport", "--destination-port": "--dport", "--source-ports": "--sports",
           "--destination-ports": "--dports", "--to-port": "--to-ports"}


def nat_target(text: str, fail: Callable[[str], RulesError]) -> tuple[int, int, int, int] | object:
    """`addr[-addr][:port[-port]]` as (low, high, low port, high port); ports -1 if none."""
    addresses, found, ports = text.partition(":")
    low_port = high_port = -1
    if found:
        low_port, high_port = port_range(ports, fail, "-")
    if not addresses:
        return 0, 0, low_port, high_port
    try:
        a, b = _span(addresses)
    except ValueError:
        raise fail(f"{text!r} is not ADDRESS[-ADDRESS][:PORT[-PORT]]") from None
    return a, b, low_port, high_port


def port_range_of(rule: Rule) -> tuple[int, int] | None:
    """The source ports that a MASQUERADE or SNAT rule may choose from, first and last; None if it does not say."""
    for name, _, value in rule.options:
        if rule.target == "MASQUERADE" and name == "--to-ports" or name == "--to-source" and ":" in value:
            return port_range(value.rpartition(":")[2], RulesError, "-")
    return None


def to_ports(text: str, fail: Callable[[str], RulesError]) -> object:
    return port_range(text, fail, "-")


TARGETS: dict[str, dict[str, tuple[int, Check]]] = {
    "ACCEPT": {}, "DROP": {}, "RETURN": {}, "NOTRACK": {},
    "REJECT": {"--reject-with": (1, _one_of(*REJECT_WITH))},
    "LOG": {"--log-prefix": (1, _any), "--log-level": (1, _any), "--log-tcp-sequence": (0, _any),
            "--log-tcp-options": (0, _any), "--log-ip-options": (0, _any), "--log-uid": (0, _any)},
    "SNAT": {"--to-source": (1, nat_target), "--random": (0, _any), "--random-fully": (0, _any),
             "--persistent": (0, _any)},
    "DNAT": {"--to-destination": (1, nat_target), "--random": (0, _any), "--persistent": (0, _any)},
    "MASQUERADE": {"--to-ports": (1, to_ports), "--random": (0, _any), "--random-fully": (0, _any)},
    "REDIRECT": {"--to-ports": (1, to_ports), "--random": (0, _any)},
    "MARK": {"--set-xmark": (1, value_mask), "--set-mark": (1, value_mask)},
    "TCPMSS": {"--set-mss": (1, _num), "--clamp-mss-to-pmtu": (0, _any)},
    "TTL": {"--ttl-set": (1, _num), "--ttl-inc": (1, _num), "--ttl-dec": (1, _num)},
    "CT": {"--notrack": (0, _any)},
}
TABLES_OF = {"SNAT": ("nat",), "DNAT": ("nat",), "MASQUERADE": ("nat",), "REDIRECT": ("nat",), "NOTRACK": ("raw",),
             "CT": ("raw",), "TCPMSS": ("mangle", "filter"), "TTL": ("mangle",), "MARK": ("mangle", "filter", "raw", "nat"),
             "REJECT": ("filter",)}
CHAINS_OF = {"SNAT": ("POSTROUTING", "INPUT"), "MASQUERADE": ("POSTROUTING",), "DNAT": ("PREROUTING", "OUTPUT"),
             "REDIRECT": ("PREROUTING", "OUTPUT")}


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if not value or any(c in value for c in " '\"\\") else value


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.line = text, name, 0

    def fail(self, message: str) -> RulesError:
        return RulesError(f"{self.name}: line {self.line}: {message}")

    def parse(self) -> Rules:
        rules = Rules()
        table: str | None = None
        for number, raw in enumerate(self.text.splitlines(), 1):
            self.line = number
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("*"):
                table = line[1:]
                if table not in BUILTIN:
                    raise self.fail(f"table {table!r} is not supported; expected one of {', '.join(BUILTIN)}")
                rules.tables.setdefault(table, {})
                continue
            if line == "COMMIT":
                table = None
                continue
            if table is None:
                raise self.fail(f"{line.split()[0]!r} stands outside a table; expected '*filter', '*nat', ...")
            if line.startswith(":"):
                self.declare(rules.tables[table], table, line[1:].split())
                continue
            try:
                words = shlex.split(line)
            except ValueError as e:
                raise self.fail(f"quotes do not match: {e}") from None
            if words[0].startswith("["):
                words = words[1:]
            if len(words) < 2 or words[0] not in ("-A", "--append"):
                raise self.fail(f"{' '.join(words[:1])!r} is not understood; expected '-A CHAIN ...'")
            if words[1] not in rules.tables[table]:
                raise self.fail(f"chain {words[1]!r} is not declared in table {table}")
            rule = self.rule(words[2:], table)
            chain = words[1]
            if rule.target in CHAINS_OF and chain in HOOKS and chain not in CHAINS_OF[rule.target]:
                raise self.fail(f"{rule.target} is only valid in {', '.join(CHAINS_OF[rule.target])}, not in {chain}")
            rules.tables[table][chain].rules.append(rule)
        if table is not None:
            raise self.fail(f"table {table} ends without COMMIT")
        self.check_targets(rules)
        return rules

    def declare(self, chains: dict[str, Chain], table: str, words: list[str]) -> None:
        if len(words) < 2:
            raise self.fail("expected ':CHAIN POLICY [packets:bytes]'")
        chain, policy = words[0], words[1]
        if chain in BUILTIN[table]:
            if policy not in ("ACCEPT", "DROP"):
                raise self.fail(f"policy {policy!r} of {chain}: expected ACCEPT or DROP")
            chains[chain] = Chain(chain, policy)
        elif chain in HOOKS:
            raise self.fail(f"table {table} has no chain {chain}")
        elif policy != "-":
            raise self.fail(f"user chain {chain} cannot have the policy {policy!r}")
        else:
            chains[chain] = Chain(chain)

    def check_targets(self, rules: Rules) -> None:
        for table, chains in rules.tables.items():
            for chain in chains.values():
                for rule in chain.rules:
                    if rule.target is not None and rule.target not in TARGETS and rule.target not in chains:
                        self.line = rule.line
                        raise self.fail(f"target {rule.target!r} is neither known nor a chain of table {table}")

    def rule(self, words: list[str], table: str) -> Rule:
        """Parse the words after `-A CHAIN`."""
        t = _Tokens(words, self.fail)
        basic: dict[str, tuple[bool, str]] = {}
        protocol: tuple[bool, int] | None = None
        fragment: bool | None = None
        matches: list[tuple[str, list[tuple[str, bool, str]]]] = []
        target: str | None = None
        goto = False
        options: list[tuple[str, bool, str]] = []
        negated = False
        for word in t:
            word = ALIASES.get(word, word)
            if word == "!":
                negated = True
                continue
            if word in ("-s", "--source", "--src", "-d", "--destination", "--dst"):
                net = t.value(word)
                a, m = address(net, self.fail)
                basic["source" if word in ("-s", "--source", "--src") else "destination"] = (
                    negated, f"{ipaddress.IPv4Address(a)}/{bin(m).count('1')}")
            elif word in ("-i", "--in-interface", "-o", "--out-interface"):
                basic["iif" if word in ("-i", "--in-interface") else "oif"] = (negated, t.value(word))
            elif word in ("-p", "--protocol"):
                text = t.value(word)
                protocol = (negated, protocol_number(text, self.fail))
            elif word in ("-f", "--fragment"):
                fragment = not negated
            elif word in ("-m", "--match"):
                module = t.value(word)
                if module not in MATCHES:
                    hint = "helpers (FTP, TFTP, SIP) are not supported" if module == "helper" else f"known are {', '.join(MATCHES)}"
                    raise self.fail(f"match {module!r} is not supported; {hint}")
                matches.append((module, []))
            elif word in ("-j", "--jump", "-g", "--goto"):
                target, goto = t.value(word), word in ("-g", "--goto")
            elif word in ("-c", "--set-counters"):
                t.value(word)
                t.value(word)
            elif target is not None and word in TARGETS.get(target, {}):
                options.append((word, False, self.option(t, word, TARGETS[target][word])))
            elif target == "CT" and word == "--helper":
                raise self.fail(f"connection tracking helpers are not supported (--helper {t.value(word)})")
            else:
                module, value = self.match_option(t, word, matches, protocol)
                for name, found in reversed(matches):
                    if name == module:
                        found.append((word, negated, value))
                        break
            negated = False
        if target is not None:
            allowed = TABLES_OF.get(target)
            if allowed and table not in allowed:
                raise self.fail(f"target {target} is only valid in the {' or '.join(allowed)} table, not in {table}")
            need = {"SNAT": "--to-source", "DNAT": "--to-destination", "TTL": "--ttl", "TCPMSS": "--", "MARK": "--set",
                    "CT": "--notrack"}
            if target in need and not any(o[0].startswith(need[target]) for o in options):
                raise self.fail(f"target {target} needs {need[target] if need[target] != '--' else 'an option'}...")
        return Rule(self.line, basic.get("source"), basic.get("destination"), basic.get("iif"), basic.get("oif"),
                    protocol, fragment, tuple(Match(m, tuple(o)) for m, o in matches), target, goto, tuple(options))

    def option(self, t: _Tokens, word: str, spec: tuple[int, Check]) -> str:
        count, check = spec
        if count == 0:
            return ""
        raw = [t.value(word) for _ in range(count)]
        check(" ".join(raw), self.fail)
        return " ".join(_quoted(v) for v in raw)

    def match_option(self, t: _Tokens, word: str, matches: list[tuple[str, list[tuple[str, bool, str]]]],
                     protocol: tuple[bool, int] | None) -> tuple[str, str]:
        """The match an option belongs to; `-p tcp` alone brings its own options."""
        for module, _ in reversed(matches):
            if word in MATCHES[module]:
                return module, self.option(t, word, MATCHES[module][word])
        if protocol is not None and not protocol[0]:
            implied = PROTOCOL_NAMES.get(protocol[1], "")
            if word in MATCHES.get(implied, {}):
                matches.append((implied, []))
                return implied, self.option(t, word, MATCHES[implied][word])
        raise self.fail(f"{word!r} is not understood")
