"""Masquerading as one writes it in plain Python: a dict, struct, incremental checksums; no state, no rules."""
from __future__ import annotations

import struct

HOST = 0xC0A80164


def fixed(check: int, old: int, new: int) -> int:
    """RFC 1624 for 32-bit fields."""
    s = (~check & 0xFFFF) + (~old & 0xFFFF) + (~old >> 16 & 0xFFFF) + (new & 0xFFFF) + (new >> 16)
    s = (s & 0xFFFF) + (s >> 16)
    s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


class PlainNat:
    """Source NAT with port preservation."""

    def __init__(self) -> None:
        self.flows: dict[tuple[int, int, int, int, int], int] = {}
        self.taken: set[tuple[int, int, int, int]] = set()

    def outward(self, f: bytearray) -> None:
        """Translate one frame in place."""
        protocol = f[23]
        check, src, dst, sport, dport = struct.unpack_from(">HIIHH", f, 24)
        key = (src, dst, sport, dport, protocol)
        port = self.flows.get(key)
        if port is None:
            port = sport
            while (dst, dport, port, protocol) in self.taken:
                port = 1024 + (port + 1) % 64512
            self.taken.add((dst, dport, port, protocol))
            self.flows[key] = port
        f[22] -= 1
        check = fixed(fixed(check, src, HOST), 0x0100, 0)
        struct.pack_into(">HI", f, 24, check, HOST)
        struct.pack_into(">H", f, 34, port)
        at = 50 if protocol == 6 else 40
        l4 = struct.unpack_from(">H", f, at)[0]
        if l4 or protocol == 6:
            struct.pack_into(">H", f, at, fixed(fixed(l4, src, HOST), sport, port))
