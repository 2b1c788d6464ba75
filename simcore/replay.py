"""One Linux host as a box: frames in, frames out, compared with what a kernel was recorded to do."""
from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import natfast
from natfast.box import load_box
from natfast.errors import BoxError
from simcore.engine import Environment
from simcore.net.link import wire
from simcore.net.namespace import Namespace
from simcore.net.probe import Collector, inject

KINDS = ("bridge", "veth", "ethernet")


class Box:
    """A Docker host in one namespace whose wires end in the caller's hands.

    Parameters
    ----------
    description : dict
        interfaces, fdb, neighbours, routes, sysctl, as in a box.json; `rules` is a Rules or iptables-save text.

    Raises
    ------
    BoxError
        For a description that is not understood.
    """

    def __init__(self, description: dict[str, Any], seed: int = 0, name: str = "box") -> None:
        self.description, self.name = description, name
        self.env = Environment()
        rules = description.get("rules") or natfast.Rules()
        if isinstance(rules, str):
            rules = natfast.Rules.from_iptables_save(rules)
        try:
            self.host = Namespace(self.env, "host", description.get("sysctl", {}), rules, seed)
            self._build(description)
        except (KeyError, TypeError) as error:
            raise BoxError(f"{name}: {type(error).__name__} {error}") from None
        except ValueError as error:
            raise BoxError(f"{name}: {error}") from None

    @classmethod
    def load(cls, path: str | Path, seed: int = 0) -> Box:
        """Read a box.json; its `rules` names a file beside it."""
        return cls(load_box(path), seed, str(path))

    def _build(self, d: dict[str, Any]) -> None:
        host = self.host
        self.wires: list[str] = []
        for name, spec in d["interfaces"].items():
            kind = spec.get("kind", "veth")
            if kind not in KINDS:
                raise BoxError(f"{self.name}: interface {name}: kind {kind!r}, expected bridge or veth")
            add = host.add_bridge if kind == "bridge" else host.add_interface
            dev = add(name, spec.get("mac", "02:00:00:00:00:01"), spec.get("mtu", 1500))
            dev.hairpin = bool(spec.get("hairpin", False))
            if kind != "bridge":
                self.wires.append(name)
        for name, spec in d["interfaces"].items():
            for port in spec.get("ports", ()):
                if port not in host.by_name:
                    raise BoxError(f"{self.name}: interface {name}: port {port!r} is not an interface")
                host.enslave(port, name)
            for cidr in spec.get("addresses", ()):
                host.add_address(name, cidr)
        for mac, port in d.get("fdb", ()):
            host.add_fdb(mac, port)
        for address, mac, dev_name in d.get("neighbours", ()):
            host.add_neighbour(address, mac, dev_name)
        for route in d.get("routes", ()):
            host.add_route(route["to"], route["dev"], route.get("via"))
        self.collector = Collector(self.env, "wires", len(self.wires))
        for i, name in enumerate(self.wires):
            wire(self.env, host, host.interface(name).port, self.collector, i)
        self.addresses = {str(ipaddress.IPv4Interface(a).ip) for s in d["interfaces"].values() for a in s.get("addresses", ())}

    def inject(self, interface: str, frame: bytes, at: float,
               observed: Sequence[tuple[str, bytes] | Sequence[Any]] | None = None) -> list[tuple[str, bytes]]:
        """Let a frame arrive.

        Parameters
        ----------
        interface : str
            The host's interface that receives it.
        frame : bytes
        at : float
            Seconds; must not go back.
        observed : list of (interface, frame), optional
            What a real kernel sent because of it: a port that it drew at random is adopted.

        Returns
        -------
        list of (interface, frame)
            All that left the host since the last call, in order.
        """
        if interface not in self.wires:
            raise BoxError(f"{interface!r} is not a wire of the box; expected one of {', '.join(self.wires)}")
        if at > self.env.now:
            self.env.run(until=at)
        self.host.netfilter.adopt(_source_keys(f for _, f in observed or ()))
        inject(self.host, self.host.interface(interface).port, frame)
        self._settle()
        out = [(self.wires[port], f) for port, f in self.collector.frames]
        self.collector.frames.clear()
        return out

    def _settle(self) -> None:
        """Run what happens at this very moment."""
        calendar = self.env.calendar
        calendar.check()
        calendar.run_before(math.nextafter(self.env.now, math.inf))

    def conntrack(self) -> list[str]:
        """`conntrack -L` as recorded cases have it."""
        return list(self.host.netfilter.conntrack(self.env.now))

    def reset(self) -> None:
        """Empty the tables and set the clock back to 0."""
        fresh = Box(self.description, name=self.name)
        self.__dict__.update(fresh.__dict__)


def _source_keys(frames: Iterable[bytes]) -> list[int]:
    """Source ports and ICMP ids of frames."""
    keys = []
    for f in frames:
        if len(f) < 34 or f[12:14] != b"\x08\x00":
            continue
        l4 = 14 + (f[14] & 15) * 4
        if f[23] in (6, 17, 132, 136) and len(f) >= l4 + 2:
            keys.append(int.from_bytes(f[l4:l4 + 2], "big"))
        elif f[23] == 1 and len(f) >= l4 + 6:
            keys.append(int.from_bytes(f[l4 + 4:l4 + 6], "big"))
    return keys


@dataclass
class Difference:
    """A step that came out otherwise."""

    case: str
    step: int
    what: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.case}: step {self.step}: {self.what}\n  kernel  {self.expected}\n  simcore {self.got}"


def same_frame(kernel: bytes, ours: bytes, addresses: set[str]) -> bool:
    """Equal but for the IP id (and header checksum) of packets that the host itself makes."""
    if kernel == ours:
        return True
    if len(kernel) != len(ours) or len(ours) < 34 or ours[12:14] != b"\x08\x00":
        return False
    ihl = (ours[14] & 15) * 4
    kind = ours[14 + ihl] if ours[23] == 1 else -1
    reset = ours[23] == 6 and len(ours) > 14 + ihl + 13 and ours[14 + ihl + 13] & 4
    # an error made here may leave under the address that the connection is known by on that side
    error = kind in (3, 5, 11, 12) and ours[15] & 0xC0 == 0xC0
    own = error or ours[26] == 127 or str(ipaddress.IPv4Address(ours[26:30])) in addresses
    piece = ours[23] == 1 and int.from_bytes(ours[20:22], "big") & 0x1FFF       # of a long echo reply
    if not own or not (piece or kind in (0, 3, 5, 11, 12, 14) or reset):
        return False

    def masked(f: bytes) -> bytes:
        header = bytearray(f[14:14 + ihl])
        header[4:6] = header[10:12] = b"\0\0"
        return f[:14] + bytes(header) + f[14 + ihl:]

    return masked(kernel) == masked(ours)


def same_entry(kernel: str, ours: str, age: float = 0.0) -> bool:
    """Equal lines but for a second of the remaining timeout; the kernel's was read `age` seconds later."""
    a, b = kernel.split(), ours.split()
    return a[:2] == b[:2] and a[3:] == b[3:] and abs(int(a[2]) + age - int(b[2])) <= 1


def same_table(kernel: Sequence[str], ours: Sequence[str]) -> bool:
    """Equal tables, whatever the order of entries that share their addresses and ports."""
    def ordered(lines: Sequence[str]) -> list[str]:
        return sorted(lines, key=lambda line: (line.split(" src=", 1)[-1], line.split()[1]))
    return len(kernel) == len(ours) and all(map(same_entry, ordered(kernel), ordered(ours)))


def _by_interface(frames: Iterable[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    out: dict[str, list[bytes]] = {}
    for name, f in frames:
        out.setdefault(name, []).append(f)
    return out


def replay_case(box: Box, path: Path, conntrack: bool = False) -> tuple[int, list[Difference]]:
    """Run one recorded case; the number of steps and where they differ."""
    box.reset()
    steps = 0
    different: list[Difference] = []
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise BoxError(f"{path}: {error.strerror}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            frame, at, dev = bytes.fromhex(row["frame"]), float(row["t"]), str(row["in"])
            expected = [(str(n), bytes.fromhex(f)) for n, f in row["out"]]
            entries = _entries(row) if conntrack else None
        except (ValueError, KeyError, TypeError) as error:
            raise BoxError(f"{path}: line {number}: not a step of a case ({error})") from None
        if not math.isfinite(at):
            raise BoxError(f"{path}: line {number}: t: {at:g}: expected seconds")
        steps += 1
        try:
            got = box.inject(dev, frame, at, observed=expected)
        except BoxError as error:
            raise BoxError(f"{path}: line {number}: {error}") from None
        want, have = _by_interface(expected), _by_interface(got)
        ok = want.keys() == have.keys() and all(
            len(want[n]) == len(have[n]) and all(map(lambda a, b: same_frame(a, b, box.addresses), want[n], have[n])) for n in want)
        if not ok:
            different.append(Difference(path.stem, steps, "frames", str([(n, f.hex()) for n, f in expected]),
                                        str([(n, f.hex()) for n, f in got])))
            continue
        if entries is not None and not same_table(entries, table := box.conntrack()):
            different.append(Difference(path.stem, steps, "conntrack", str(entries), str(table)))
    return steps, different


def _entries(row: dict[str, Any]) -> list[str] | None:
    """The conntrack table after a step, if it was recorded; ValueError if those are no lines of one."""
    if "conntrack" not in row:
        return None
    lines = row["conntrack"]
    if not isinstance(lines, list) or not all(isinstance(line, str) and re.match(r"\S+ \d+ \d+ \S", line) for line in lines):
        raise ValueError("conntrack: expected lines as `conntrack -L` prints them")
    return lines
