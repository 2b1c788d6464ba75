"""Translates a capture as the host in a box.json would."""
from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from natfast.box import load_box
from natfast.capture import PcapngWriter, read
from natfast.defrag import fragment
from natfast.errors import BoxError
from natfast.hooks import ACCEPT, STOLEN, Netfilter


@dataclass
class Translated:
    """Counts of one translation."""

    frames: int = 0
    translated: int = 0
    returned: int = 0
    dropped: int = 0
    other: int = 0
    """Not IPv4, or no business of a router."""


def _neighbours(box: dict[str, Any], dev: str) -> dict[bytes, bytes]:
    return {bytes(int(x) for x in ip.split(".")): bytes.fromhex(mac.replace(":", ""))
            for ip, mac, name in box.get("neighbours", ()) if name == dev}


def translate(source: Path, target: Path, box_path: Path, iif: str, oif: str) -> Translated:
    """Send the frames that a capture at `iif` shows going out by `oif` through the host.

    A frame belongs to the forward direction if its source lies behind `iif`; it is written as it leaves by
    `oif`. Answers in the same capture, which a tap on `iif` saw already mapped back, keep connection tracking
    up to date and are not written; nor is what the host itself sends or receives, or what stays on the network.

    Raises
    ------
    BoxError, RulesError, CaptureError
        Naming file and what was wrong.
    """
    box = load_box(box_path)
    for name in (iif, oif):
        if name not in box["interfaces"]:
            raise BoxError(f"{box_path}: interfaces: {name!r} is not there; expected one of {', '.join(box['interfaces'])}")
    interfaces = {name: list(spec.get("addresses", ())) for name, spec in box["interfaces"].items()}
    nat = Netfilter(box["rules"], interfaces, box.get("sysctl", {}))
    mac_out = bytes.fromhex(str(box["interfaces"][oif].get("mac", "02:00:00:00:00:01")).replace(":", ""))
    gateway = next((bytes(int(x) for x in r["via"].split(".")) for r in box.get("routes", ()) if r.get("via") and r["dev"] == oif), b"")
    neighbours = _neighbours(box, oif)
    networks = [(int(net.network_address), int(net.netmask)) for net in (ipaddress.IPv4Interface(a).network for a in interfaces[iif])]
    own = {int(ipaddress.IPv4Interface(a).ip) for addresses in interfaces.values() for a in addresses}
    counts = Translated()
    with PcapngWriter(target, "natfast") as writer:
        number = writer.add_interface(oif)
        start: float | None = None
        for packet in read(source):
            counts.frames += 1
            frame = packet.frame
            start = packet.time if start is None else start
            if frame[12:14] != b"\x08\x00" or len(frame) < 34:
                counts.other += 1
                continue
            address = int.from_bytes(frame[26:30], "big")
            if not any(address & mask == net for net, mask in networks):
                counts.returned += 1
                nat.observe_reply(bytearray(frame), iif, oif, packet.time - start)
                continue
            target_address = int.from_bytes(frame[30:34], "big")
            if address in own or target_address in own or target_address >> 28 == 14 or any(
                    target_address & mask == net for net, mask in networks):
                counts.other += 1
                continue
            for out in _forward(nat, frame, packet.time - start, iif, oif):
                destination = out[30:34]
                mac = neighbours.get(destination) or neighbours.get(gateway)
                if mac is not None:
                    out = mac + mac_out + out[12:]
                writer.write(number, packet.time, out)
                counts.translated += 1
            counts.dropped = counts.frames - counts.translated - counts.returned - counts.other
    return counts


def _forward(nat: Netfilter, frame: bytes, now: float, iif: str, oif: str) -> list[bytes]:
    buf = np.frombuffer(frame, np.uint8).copy().reshape(1, -1)
    lengths = np.array([len(frame)], np.uint32)
    verdict = nat.forward(buf, lengths, iif, oif, now)[0]
    if verdict == ACCEPT:
        return [bytes(buf[0, :lengths[0]])]
    if verdict == STOLEN:
        out = []
        for whole, v, size, sizes in nat.take_reassembled():
            if v == ACCEPT:
                out += [whole[:14] + piece for piece in fragment(whole[14:], size, False, sizes)]
        return out
    return []
