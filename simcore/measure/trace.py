"""The way of a packet, hop by hop: where it was seen, what changed there, and why."""
from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

FLAGS = "FSRPAUEC"
PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP"}


@dataclass(frozen=True)
class Fields:
    """The fields of a frame that a hop may change."""

    source_mac: str
    destination_mac: str
    source: str
    destination: str
    ttl: int
    ip_checksum: int
    l4_checksum: int | None
    protocol: str

    @classmethod
    def of(cls, frame: bytes) -> Fields:
        """Dissect an Ethernet frame."""
        def mac(b: bytes) -> str:
            return b.hex(":")
        dst, src = mac(frame[0:6]), mac(frame[6:12])
        if frame[12:14] == b"\x08\x06":
            op = "who-has" if frame[21] == 1 else "is-at"
            return cls(src, dst, str(ipaddress.IPv4Address(frame[28:32])), str(ipaddress.IPv4Address(frame[38:42])),
                       0, 0, None, f"ARP {op}")
        if frame[12:14] != b"\x08\x00" or len(frame) < 34:
            return cls(src, dst, "", "", 0, 0, None, f"0x{frame[12:14].hex()}")
        ihl = (frame[14] & 15) * 4
        l4 = frame[14 + ihl:]
        a, b = str(ipaddress.IPv4Address(frame[26:30])), str(ipaddress.IPv4Address(frame[30:34]))
        checksum: int | None = None
        name = f"IP {frame[23]}"
        if int.from_bytes(frame[20:22], "big") & 0x1FFF:
            name = f"{PROTOCOLS.get(frame[23], name)} fragment"
        elif frame[23] in (6, 17) and len(l4) >= (20 if frame[23] == 6 else 8):
            a += f":{int.from_bytes(l4[0:2], 'big')}"
            b += f":{int.from_bytes(l4[2:4], 'big')}"
            at = 16 if frame[23] == 6 else 6
            checksum = int.from_bytes(l4[at:at + 2], "big")
            name = "UDP"
            if frame[23] == 6:
                name = "TCP " + "".join(c for i, c in enumerate(FLAGS) if l4[13] >> i & 1)
        elif frame[23] == 1 and len(l4) >= 8:
            name = {8: "ICMP echo", 0: "ICMP reply"}.get(l4[0], f"ICMP {l4[0]}/{l4[1]}")
            checksum = int.from_bytes(l4[2:4], "big")
        return cls(src, dst, a, b, frame[22], int.from_bytes(frame[24:26], "big"), checksum, name)


@dataclass
class Hop:
    """One sight of a packet at an interface."""

    time: float
    place: str
    outgoing: bool
    fields: Fields
    changed: list[str]
    why: list[str]


@dataclass
class Tracer:
    """Collects sights and notes of every packet by its identity."""

    sights: dict[int, list[Hop]] = field(default_factory=dict)
    notes: dict[int, list[str]] = field(default_factory=dict)

    def note(self, time: float, place: str, frame_id: int, frame: bytes, what: str) -> None:
        """A device says what it does with a packet."""
        self.notes.setdefault(frame_id, []).append(what)

    def seen(self, time: float, place: str, frame_id: int, frame: bytes, outgoing: bool) -> None:
        """A packet passes an interface."""
        now = Fields.of(frame)
        hops = self.sights.setdefault(frame_id, [])
        changed: list[str] = []
        if hops:
            old = hops[-1].fields
            if (old.source_mac, old.destination_mac) != (now.source_mac, now.destination_mac):
                changed.append("MACs")
            for label, a, b in (("source", old.source, now.source), ("destination", old.destination, now.destination)):
                if a != b:
                    changed.append(f"{label} {a} -> {b}")
            if old.ttl != now.ttl:
                changed.append(f"TTL {old.ttl} -> {now.ttl}")
            if old.ip_checksum != now.ip_checksum:
                changed.append("IP checksum")
            if old.l4_checksum != now.l4_checksum:
                changed.append(f"{now.protocol.split()[0]} checksum")
        why = self.notes.pop(frame_id, [])
        if not hops:
            why.insert(0, "sent" if outgoing else "received")
        elif not outgoing and not why:
            why.append("over the wire" if hops[-1].place.split("/")[0] != place.split("/")[0] else "up to the host")
        hops.append(Hop(time, place, outgoing, now, changed, why))

    def packets(self) -> list[list[Hop]]:
        """Every packet's hops, in the order in which the packets were first seen."""
        return list(self.sights.values())
