"""iptables' matches and targets: the options each takes, and what a rule with them is compiled to (iptables-extensions(8)).

What iptables refuses is refused here: a rule that no host would take says nothing of a host.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from natfast import values
from natfast.kinds import MatchKind, NatFlag, TargetKind

Spec = TypeVar("Spec")
Protocol = tuple[bool, int] | None
"""What -p says: negated, number."""
Written = tuple[tuple[str, bool, str], ...]
"""Options as they are written: name, negated, value."""
Beside = Sequence[tuple[str, Sequence[tuple[str, bool, str]]]]
"""The matches of a rule: module, options."""
MULTIPLEXED = (6, 17, 132, 33, 136)
"""Protocols with ports."""


class Given:
    """The options given to one match or target, read."""

    def __init__(self, options: dict[str, Option], written: Written) -> None:
        self.negated = {name: negated for name, negated, _ in written}
        self.value: dict[str, Any] = {name: options[name].read(value) for name, _, value in written}

    def __contains__(self, name: str) -> bool:
        return name in self.value

    def one_of(self, names: Iterable[str]) -> Iterable[tuple[str, bool, Any]]:
        """Those of some options that are given: name, negated, value."""
        return [(name, self.negated[name], self.value[name]) for name in names if name in self.value]


@dataclass(frozen=True)
class MatchSpec:
    """One elementary match; `a`, `b`, `c` are what its kind makes of them, `interface` a pattern.

    `name`, `masks`, `most` and `interval` are of hashlimit's buckets: matches of one name share them.
    """

    kind: MatchKind
    invert: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    rate: float = 0.0
    port: tuple[int, ...] = ()
    interface: str = ""
    name: str = ""
    masks: tuple[int, int] = (0, 0)
    most: int = 0
    interval: int = 0


@dataclass(frozen=True)
class NatSpec:
    """The addresses and ports that NAT may choose from: struct nf_nat_range2."""

    flags: int = 0
    addresses: tuple[int, int] = (0, 0)
    ports: tuple[int, int] = (0, 0)
    base_port: int = 0


@dataclass(frozen=True)
class TargetSpec:
    """What happens to a packet that matches; `a` and `b` are what the kind makes of them."""

    kind: TargetKind
    a: int = 0
    b: int = 0
    range: NatSpec | None = None
    log: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Option:
    """One option: how its value is read (from so many words), whether it may be negated, and what must stand beside it."""

    read: values.Read = values.anything
    words: int = 1
    invert: bool = False
    beside: str = ""


@dataclass(frozen=True)
class Extension(Generic[Spec]):
    """One match or target."""

    options: dict[str, Option]
    lower: Callable[[Given], Spec]
    """Compiles what was given."""
    some: bool = False
    """At least one of its options must be given."""
    needs: tuple[str, ...] = ()
    """These must be given."""
    one_of: tuple[str, ...] = ()
    """Exactly one of these must be given."""
    either: tuple[str, ...] = ()
    """At most one of these may be given."""
    protocols: tuple[int, ...] = ()
    """-p must name one of these."""
    tables: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    """The only tables, and builtin chains, that it may stand in, or be reached from; () if any."""
    whole: Callable[[Given, Protocol, Beside], None] | None = None
    """What else must fit: ValueError if it does not."""

    def check(self, written: Written, protocol: Protocol, beside: Beside) -> None:
        """Do these options make sense together, and in a rule with these matches? ValueError says what does not."""
        names = [name for name, _, _ in written]
        for name, negated, _ in written:
            if names.count(name) > 1:
                raise ValueError(f"{name} is given twice")
            if negated and not self.options[name].invert:
                raise ValueError(f"{name} cannot be negated")
            if (needed := self.options[name].beside) and needed not in names:
                raise ValueError(f"{name} needs {needed}")
        if missing := [name for name in self.needs if name not in names]:
            raise ValueError(f"needs {missing[0]}")
        alternatives = self.one_of or (self.options if self.some else ())
        if alternatives and not any(name in names for name in alternatives):
            raise ValueError(f"needs {' or '.join(alternatives)}")
        for group in (self.one_of, self.either):
            if len(clash := [name for name in names if name in group]) > 1:
                raise ValueError(f"{clash[0]} and {clash[1]} exclude each other")
        if self.protocols and not _is_one_of(protocol, self.protocols):
            raise ValueError(f"needs -p {' or '.join(values.PROTOCOL_NAMES[p] for p in self.protocols)}")
        if self.whole is not None:
            self.whole(Given(self.options, written), protocol, beside)


def _is_one_of(protocol: Protocol, known: tuple[int, ...]) -> bool:
    return protocol is not None and not protocol[0] and protocol[1] in known


# ---- matches

Match = Extension[list[MatchSpec]]


def _each(kinds: dict[str, MatchKind]) -> Callable[[Given], list[MatchSpec]]:
    """A match whose options are one elementary match each, with one number or two."""
    def lower(given: Given) -> list[MatchSpec]:
        out = []
        for name, negated, value in given.one_of(kinds):
            a, b, *_ = value if isinstance(value, tuple) else (value, 0)
            out.append(MatchSpec(kinds[name], negated, a, b))
        return out
    return lower


_ANY_PORT = (0, 65535)


def _ports(given: Given) -> list[MatchSpec]:
    """--sport and --dport: a packet that does not reach to its ports has none."""
    invert, port = 0, (_ANY_PORT, _ANY_PORT)
    for _, negated, value in given.one_of(("--sport",)):
        invert, port = int(negated), (value, port[1])
    for _, negated, value in given.one_of(("--dport",)):
        invert, port = invert | negated << 1, (port[0], value)
    return [MatchSpec(MatchKind.K_PORTS, invert, port=(*port[0], *port[1]))] if invert or port != (_ANY_PORT, _ANY_PORT) else []


def _whole(length: int) -> MatchSpec:
    """What xtables' own matches of transports begin with; iptables-nft has its own for ports and flags of TCP and UDP."""
    return MatchSpec(MatchKind.K_HEADER, False, length)


def _tcp(given: Given) -> list[MatchSpec]:
    out = [_whole(20)] if any(given.one_of(("--tcp-option",))) else []
    out += _ports(given)
    if "--syn" in given:
        out.append(MatchSpec(MatchKind.K_TCPFLAGS, given.negated["--syn"], *values.tcp_flags("FIN,SYN,RST,ACK SYN")))
    return out + _each({"--tcp-flags": MatchKind.K_TCPFLAGS, "--tcp-option": MatchKind.K_TCPOPTION})(given)


def _icmp(given: Given) -> list[MatchSpec]:
    return [MatchSpec(MatchKind.K_ICMP, given.negated["--icmp-type"], *given.value["--icmp-type"])]


_MULTIPORT = {"--sports": 1, "--dports": 2, "--ports": 3}


def _multiport(given: Given) -> list[MatchSpec]:
    return [MatchSpec(MatchKind.K_MULTIPORT, negated, _MULTIPORT[name], port=tuple(p for pair in value for p in pair))
            for name, negated, value in given.one_of(_MULTIPORT)]


_CT_ENDS = ("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst")


def _conntrack(given: Given) -> list[MatchSpec]:
    out = _each({"--ctstate": MatchKind.K_CTSTATE, "--state": MatchKind.K_CTSTATE})(given)
    for i, end in enumerate(_CT_ENDS):
        out += [MatchSpec(MatchKind.K_CTTUPLE, negated, value[0], value[1], i) for _, negated, value in given.one_of((end,))]
        out += [MatchSpec(MatchKind.K_CTPORT, negated, value[0], value[1], i) for _, negated, value in given.one_of((end + "port",))]
    out += _each({"--ctstatus": MatchKind.K_CTSTATUS, "--ctproto": MatchKind.K_CTPROTO})(given)
    return out + [MatchSpec(MatchKind.K_CTDIR, a=int(value == "REPLY")) for _, _, value in given.one_of(("--ctdir",))]


def _limit(given: Given) -> list[MatchSpec]:
    return [MatchSpec(MatchKind.K_LIMIT, a=given.value.get("--limit-burst", 5), rate=given.value.get("--limit", 3 / 3600))]


_HASHLIMIT_MODES = {"dstip": 1, "dstport": 2, "srcip": 4, "srcport": 8}


def _hashlimit(given: Given) -> list[MatchSpec]:
    [(name, negated, (rate, unit))] = given.one_of(("--hashlimit-upto", "--hashlimit-above"))
    most = given.value.get("--hashlimit-htable-max", 8 * given.value.get("--hashlimit-htable-size", 0))
    return [MatchSpec(MatchKind.K_HASHLIMIT, negated ^ (name == "--hashlimit-above"), given.value.get("--hashlimit-burst", 5),
                      given.value.get("--hashlimit-mode", 0), given.value.get("--hashlimit-htable-expire", 1000 * unit), rate,
                      name=given.value["--hashlimit-name"], most=most, interval=given.value.get("--hashlimit-htable-gcinterval", 1000),
                      masks=(values.prefix_mask(given.value.get("--hashlimit-srcmask", 32)),
                             values.prefix_mask(given.value.get("--hashlimit-dstmask", 32))))]


def _connlimit(given: Given) -> list[MatchSpec]:
    [(name, negated, limit)] = given.one_of(("--connlimit-upto", "--connlimit-above"))
    return [MatchSpec(MatchKind.K_CONNLIMIT, negated ^ (name == "--connlimit-upto"), limit,
                      values.prefix_mask(given.value.get("--connlimit-mask", 32)), "--connlimit-daddr" in given)]


def _statistic(given: Given) -> list[MatchSpec]:
    if "--probability" in given:
        threshold = min(int(given.value["--probability"] * 4294967296), 0xFFFFFFFF)
        return [MatchSpec(MatchKind.K_RANDOM, given.negated["--probability"], threshold)]
    every = given.value["--every"]
    return [MatchSpec(MatchKind.K_NTH, given.negated["--every"], every, every - 1, every - 1 - given.value["--packet"])]


def _statistic_fits(given: Given, protocol: Protocol, beside: Beside) -> None:
    needed = "--probability" if given.value["--mode"] == "random" else "--every"
    if needed not in given:
        raise ValueError(f"--mode {given.value['--mode']} needs {needed}")
    if "--every" in given and given.value["--packet"] >= given.value["--every"]:
        raise ValueError(f"--packet {given.value['--packet']} is none of 0 to {given.value['--every'] - 1}")


_TTL = {"--ttl-eq": 0, "--ttl-gt": 1, "--ttl-lt": 2}


def _ttl(given: Given) -> list[MatchSpec]:
    return [MatchSpec(MatchKind.K_TTL, negated, value, _TTL[name]) for name, negated, value in given.one_of(_TTL)]


def _dscp(given: Given) -> list[MatchSpec]:
    return [MatchSpec(MatchKind.K_TOS, negated, value << 2, 0xFC) for _, negated, value in given.one_of(("--dscp", "--dscp-class"))]


_PHYSDEV = {"--physdev-in": MatchKind.K_PHYSIN, "--physdev-out": MatchKind.K_PHYSOUT, "--physdev-is-in": MatchKind.K_PHYSIN,
            "--physdev-is-out": MatchKind.K_PHYSOUT, "--physdev-is-bridged": MatchKind.K_BRIDGED}


def _physdev(given: Given) -> list[MatchSpec]:
    return [MatchSpec(_PHYSDEV[name], negated, interface=value or "+") for name, negated, value in given.one_of(_PHYSDEV)]


_PORTS = {"--sport": Option(values.ports, invert=True), "--dport": Option(values.ports, invert=True)}
_MULTIPORTS = Option(values.multiports, invert=True)
_ADDRESS_TYPES = Option(values.address_types, invert=True)
_RANGE = Option(values.address_range, invert=True)
_FLAG = Option(words=0)
_INVERTIBLE_FLAG = Option(words=0, invert=True)

MATCHES: dict[str, Match] = {
    "tcp": Match({**_PORTS, "--tcp-flags": Option(values.tcp_flags, words=2, invert=True), "--syn": _INVERTIBLE_FLAG,
                  "--tcp-option": Option(values.number(1, 255), invert=True)}, _tcp, either=("--syn", "--tcp-flags"), protocols=(6,)),
    "udp": Match(_PORTS, _ports, protocols=(17,)),
    "sctp": Match(_PORTS, lambda given: [_whole(12), *_ports(given)], protocols=(132,)),
    "icmp": Match({"--icmp-type": Option(values.icmp_type, invert=True)}, _icmp, some=True, protocols=(1,)),
    "multiport": Match({name: _MULTIPORTS for name in _MULTIPORT}, _multiport, one_of=tuple(_MULTIPORT),
                       protocols=MULTIPLEXED),
    "addrtype": Match({"--src-type": _ADDRESS_TYPES, "--dst-type": _ADDRESS_TYPES},
                      _each({"--src-type": MatchKind.K_SRCTYPE, "--dst-type": MatchKind.K_DSTTYPE}), some=True),
    "conntrack": Match({
        "--ctstate": Option(values.connection_states, invert=True), "--ctproto": Option(values.protocol_number, invert=True),
        **{end: Option(values.address, invert=True) for end in _CT_ENDS},
        **{end + "port": Option(values.span, invert=True) for end in _CT_ENDS},
        "--ctstatus": Option(values.connection_status, invert=True),
        "--ctdir": Option(values.one_of(("ORIGINAL", "REPLY"), "a direction"))}, _conntrack, some=True),
    "state": Match({"--state": Option(values.packet_states, invert=True)}, _conntrack, some=True),
    "mark": Match({"--mark": Option(values.mark, invert=True)}, _each({"--mark": MatchKind.K_MARK}), some=True),
    "connmark": Match({"--mark": Option(values.mark, invert=True)}, _each({"--mark": MatchKind.K_CONNMARK}), some=True),
    "limit": Match({"--limit": Option(values.rate), "--limit-burst": Option(values.number(high=10000))}, _limit),
    "hashlimit": Match({
        "--hashlimit-upto": Option(values.rate_per, invert=True), "--hashlimit-above": Option(values.rate_per, invert=True),
        "--hashlimit-burst": Option(values.number(1, 1000000)),
        "--hashlimit-mode": Option(values.names_mask(_HASHLIMIT_MODES, "a mode", abbreviated=False)),
        "--hashlimit-name": Option(values.file_name),
        "--hashlimit-srcmask": Option(values.prefix), "--hashlimit-dstmask": Option(values.prefix),
        **{f"--hashlimit-htable-{what}": Option(values.number(1)) for what in ("size", "max", "expire", "gcinterval")}},
        _hashlimit, needs=("--hashlimit-name",), one_of=("--hashlimit-upto", "--hashlimit-above")),
    "connlimit": Match({
        "--connlimit-upto": Option(values.word32, invert=True), "--connlimit-above": Option(values.word32, invert=True),
        "--connlimit-mask": Option(values.prefix), "--connlimit-saddr": _FLAG, "--connlimit-daddr": _FLAG},
        _connlimit, one_of=("--connlimit-upto", "--connlimit-above"), either=("--connlimit-saddr", "--connlimit-daddr")),
    "statistic": Match({"--mode": Option(values.one_of(("random", "nth"), "a mode")),
                        "--probability": Option(values.probability, invert=True),
                        "--every": Option(values.number(1), invert=True, beside="--packet"),
                        "--packet": Option(values.word32, beside="--every")},
                       _statistic, needs=("--mode",), either=("--probability", "--every"), whole=_statistic_fits),
    "comment": Match({"--comment": Option()}, lambda given: [], some=True),
    "physdev": Match({"--physdev-in": Option(values.interface, invert=True), "--physdev-out": Option(values.interface, invert=True),
                      "--physdev-is-in": _INVERTIBLE_FLAG, "--physdev-is-out": _INVERTIBLE_FLAG, "--physdev-is-bridged": _INVERTIBLE_FLAG},
                     _physdev, some=True),
    "length": Match({"--length": Option(values.lengths, invert=True)}, _each({"--length": MatchKind.K_LENGTH}), some=True),
    "iprange": Match({"--src-range": _RANGE, "--dst-range": _RANGE},
                     _each({"--src-range": MatchKind.K_SRCRANGE, "--dst-range": MatchKind.K_DSTRANGE}), some=True),
    "dscp": Match({"--dscp": Option(values.dscp, invert=True), "--dscp-class": Option(values.dscp_class, invert=True)}, _dscp,
                  one_of=("--dscp", "--dscp-class")),
    "tos": Match({"--tos": Option(values.tos, invert=True)}, _each({"--tos": MatchKind.K_TOS}), some=True),
    "ttl": Match({"--ttl-eq": Option(values.byte, invert=True), "--ttl-gt": Option(values.byte), "--ttl-lt": Option(values.byte)}, _ttl,
                 one_of=tuple(_TTL)),
}


# ---- targets

Target = Extension[TargetSpec]


def _nothing(given: Given) -> TargetSpec:
    """The packet goes on: what the target does to it is done already, or nobody sees it."""
    return TargetSpec(TargetKind.T_NONE)


def _ends(kind: TargetKind) -> Target:
    """A target without options."""
    return Target({}, lambda given: TargetSpec(kind))


_NAT_FLAGS = {"--random": NatFlag.RANGE_PROTO_RANDOM, "--random-fully": NatFlag.RANGE_PROTO_RANDOM_FULLY,
              "--persistent": NatFlag.RANGE_PERSISTENT}


def _translates(kind: TargetKind) -> Callable[[Given], TargetSpec]:
    def lower(given: Given) -> TargetSpec:
        flags, addresses, ports, base = 0, None, given.value.get("--to-ports"), None
        for _, _, value in given.one_of(("--to-source", "--to-destination")):
            addresses, ports, base = value
        if addresses is not None:
            flags |= NatFlag.RANGE_MAP_IPS
        if ports is not None:
            flags |= NatFlag.RANGE_PROTO_SPECIFIED
        if base is not None:
            flags |= NatFlag.RANGE_PROTO_OFFSET
        for name, flag in _NAT_FLAGS.items():
            if name in given:
                flags |= flag
        return TargetSpec(kind, range=NatSpec(flags, addresses or (0, 0), ports or (0, 0), base or 0))
    return lower


def _ports_need_protocol(given: Given, protocol: Protocol, beside: Beside) -> None:
    with_ports = "--to-ports" in given or any(value[1] is not None for _, _, value in given.one_of(("--to-source", "--to-destination")))
    if with_ports and (protocol is None or protocol[1] not in (1, 6, 17, 33, 132)):    # negated or not, as iptables has it
        raise ValueError("ports need -p tcp, udp, sctp, dccp or icmp")


def _set_bits(kind: TargetKind) -> Callable[[Given], TargetSpec]:
    """A target that clears some bits, then xors others in; --set-mark alone also clears those that it sets."""
    def lower(given: Given) -> TargetSpec:
        [(name, _, value)] = given.one_of((*_SET_MARK, *_SET_TOS))
        bits, mask = value if isinstance(value, tuple) else (value, 0)
        clear, xor = {"--set-xmark": (mask, bits), "--set-mark": (mask | bits, bits), "--set-tos": (mask, bits),
                      "--and": (~bits & 0xFFFFFFFF, 0), "--or": (bits, bits), "--xor": (0, bits)}[
                          name if "set" in name else name.rpartition("-")[0]]
        return TargetSpec(kind, xor, clear)
    return lower


def _connmark(given: Given) -> TargetSpec:
    for name, kind in (("--save-mark", TargetKind.T_SAVE_MARK), ("--restore-mark", TargetKind.T_RESTORE_MARK)):
        if name in given:
            whole = given.value.get("--mask", 0xFFFFFFFF)
            return TargetSpec(kind, given.value.get("--nfmask", whole), given.value.get("--ctmask", whole))
    return _set_bits(TargetKind.T_CONNMARK)(given)


def _masks_of_copies(given: Given, protocol: Protocol, beside: Beside) -> None:
    copies = "--save-mark" in given or "--restore-mark" in given
    for mask in ("--mask", "--nfmask", "--ctmask"):
        if mask in given and (not copies or mask != "--mask" and "--mask" in given):
            raise ValueError(f"{mask} cannot be used together with {'--mask' if copies else 'what sets the mark'}")


def _set_dscp(given: Given) -> TargetSpec:
    [(_, _, value)] = given.one_of(("--set-dscp", "--set-dscp-class"))
    return TargetSpec(TargetKind.T_TOS, value << 2, 0xFC)


def _tcpmss(given: Given) -> TargetSpec:
    return TargetSpec(TargetKind.T_TCPMSS, given.value.get("--set-mss", 0), "--clamp-mss-to-pmtu" in given)


def _of_syn(given: Given, protocol: Protocol, beside: Beside) -> None:
    for _, options in beside:
        for name, negated, value in options:
            if not negated and (name == "--syn" or name == "--tcp-flags" and values.tcp_flags(value)[1] & values.TCP_FLAGS["SYN"]):
                return
    raise ValueError("works only on SYN packets: expected -p tcp and --tcp-flags SYN,RST SYN")


_SET_TTL = {"--ttl-set": 0, "--ttl-inc": 1, "--ttl-dec": 2}


def _set_ttl(given: Given) -> TargetSpec:
    [(name, _, value)] = given.one_of(_SET_TTL)
    return TargetSpec(TargetKind.T_TTL, _SET_TTL[name], value)


def _reject(given: Given) -> TargetSpec:
    return TargetSpec(TargetKind.T_REJECT, given.value.get("--reject-with", values.REJECT_WITH["icmp-port-unreachable"]))


def _resets_tcp(given: Given, protocol: Protocol, beside: Beside) -> None:
    if given.value.get("--reject-with") == values.REJECT_WITH["tcp-reset"] and not _is_one_of(protocol, (6,)):
        raise ValueError("--reject-with tcp-reset needs -p tcp")


def _log(given: Given) -> TargetSpec:
    return TargetSpec(TargetKind.T_LOG, log={name[2:]: str(value) for name, value in given.value.items()})


_SOURCE_NAT = {"--to-source": Option(values.nat_target), "--random": _FLAG, "--random-fully": _FLAG, "--persistent": _FLAG}
_DESTINATION_NAT = {"--to-destination": Option(values.nat_target), "--random": _FLAG, "--persistent": _FLAG}
_SET_MARK = {"--set-xmark": Option(values.mark), "--set-mark": Option(values.mark), "--and-mark": Option(values.word32),
             "--or-mark": Option(values.word32), "--xor-mark": Option(values.word32)}
_SET_TOS = {"--set-tos": Option(values.tos), "--and-tos": Option(values.byte), "--or-tos": Option(values.byte),
            "--xor-tos": Option(values.byte)}
_BEFORE_ROUTING, _AFTER_ROUTING = ("PREROUTING", "OUTPUT"), ("POSTROUTING", "INPUT")

TARGETS: dict[str, Target] = {
    "ACCEPT": _ends(TargetKind.T_ACCEPT),
    "DROP": Target({}, lambda given: TargetSpec(TargetKind.T_DROP), tables=("raw", "mangle", "filter")),
    "RETURN": _ends(TargetKind.T_RETURN),
    "REJECT": Target({"--reject-with": Option(values.answer)}, _reject, tables=("filter",),
                     whole=_resets_tcp),
    "LOG": Target({"--log-prefix": Option(values.nonempty), "--log-level": Option(values.log_level), "--log-tcp-sequence": _FLAG,
                   "--log-tcp-options": _FLAG, "--log-ip-options": _FLAG, "--log-uid": _FLAG}, _log),
    "SNAT": Target(_SOURCE_NAT, _translates(TargetKind.T_SNAT), needs=("--to-source",), tables=("nat",), chains=_AFTER_ROUTING,
                   whole=_ports_need_protocol),
    "DNAT": Target(_DESTINATION_NAT, _translates(TargetKind.T_DNAT), needs=("--to-destination",), tables=("nat",), chains=_BEFORE_ROUTING,
                   whole=_ports_need_protocol),
    "MASQUERADE": Target({"--to-ports": Option(values.to_ports), "--random": _FLAG, "--random-fully": _FLAG},
                         _translates(TargetKind.T_MASQUERADE), tables=("nat",), chains=("POSTROUTING",), whole=_ports_need_protocol),
    "REDIRECT": Target({"--to-ports": Option(values.to_ports), "--random": _FLAG}, _translates(TargetKind.T_REDIRECT), tables=("nat",),
                       chains=_BEFORE_ROUTING, whole=_ports_need_protocol),
    "NETMAP": Target({"--to": Option(values.address)}, lambda given: TargetSpec(TargetKind.T_NETMAP, *given.value["--to"]), some=True,
                     tables=("nat",), chains=(*_BEFORE_ROUTING, *_AFTER_ROUTING)),
    "MARK": Target(_SET_MARK, _set_bits(TargetKind.T_MARK), one_of=tuple(_SET_MARK)),
    "CONNMARK": Target({**_SET_MARK, "--save-mark": _FLAG, "--restore-mark": _FLAG, "--mask": Option(values.word32),
                        "--nfmask": Option(values.word32), "--ctmask": Option(values.word32)}, _connmark,
                       one_of=(*_SET_MARK, "--save-mark", "--restore-mark"), whole=_masks_of_copies),
    "TOS": Target(_SET_TOS, _set_bits(TargetKind.T_TOS), one_of=tuple(_SET_TOS), tables=("mangle",)),
    "DSCP": Target({"--set-dscp": Option(values.dscp), "--set-dscp-class": Option(values.dscp_class)}, _set_dscp,
                   one_of=("--set-dscp", "--set-dscp-class"), tables=("mangle",)),
    "CHECKSUM": Target({"--checksum-fill": _FLAG}, _nothing, some=True, tables=("mangle",)),
    "NFLOG": Target({"--nflog-group": Option(values.number(high=65535)), "--nflog-prefix": Option(values.nonempty),
                     "--nflog-size": Option(values.word32), "--nflog-threshold": Option(values.number(1, 65535))}, _nothing),
    "TCPMSS": Target({"--set-mss": Option(values.number(high=65515)), "--clamp-mss-to-pmtu": _FLAG}, _tcpmss,
                     one_of=("--set-mss", "--clamp-mss-to-pmtu"), tables=("mangle", "filter"),
                     whole=_of_syn),
    "TTL": Target({"--ttl-set": Option(values.byte), "--ttl-inc": Option(values.number(1, 255)),
                   "--ttl-dec": Option(values.number(1, 255))}, _set_ttl, one_of=tuple(_SET_TTL), tables=("mangle",)),
    "NOTRACK": Target({}, lambda given: TargetSpec(TargetKind.T_NOTRACK), tables=("raw",)),
    "CT": Target({"--notrack": _FLAG}, lambda given: TargetSpec(TargetKind.T_NOTRACK), some=True, tables=("raw",)),
}
