"""Masquerading with scapy: parse, change the fields, delete the checksums, build."""
from __future__ import annotations

import time

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

HOST = "192.168.1.100"


def nat(frames: list[bytes]) -> float:
    """ns per packet."""
    flows: dict[tuple[str, str, int, int], int] = {}
    began = time.perf_counter()
    for f in frames:
        p = Ether(f)
        l4 = p[TCP] if TCP in p else p[UDP]
        port = flows.setdefault((p[IP].src, p[IP].dst, l4.sport, l4.dport), l4.sport)
        p[IP].src, p[IP].ttl, l4.sport = HOST, p[IP].ttl - 1, port
        del p[IP].chksum, l4.chksum
        bytes(p)
    return (time.perf_counter() - began) * 1e9 / len(frames)
