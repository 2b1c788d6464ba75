"""Translates a capture as the host in a box.json would."""
from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natfast.blocks import BlockBuffer
from natfast.box import load_box
from natfast.capture import CHUNK, PcapngWriter, contents
from natfast.errors import BoxError
from natfast.hooks import Netfilter
from natfast.records import Records
from natfast.translator import Translator


@dataclass
class Translated:
    """Counts of one translation."""

    frames: int = 0
    translated: int = 0
    returned: int = 0
    dropped: int = 0
    other: int = 0
    """Not IPv4, or no business of a router."""


def _neighbours(box: dict[str, Any], dev: str) -> dict[int, bytes]:
    """MACs by address."""
    return {int(ipaddress.IPv4Address(ip)): bytes.fromhex(mac.replace(":", ""))
            for ip, mac, name in box.get("neighbours", ()) if name == dev}


def translate(source: Path, target: Path, box_path: Path, iif: str, oif: str,
              progress: Callable[[float], None] | None = None) -> Translated:
    """Send the frames that a capture at `iif` shows going out by `oif` through the host.

    A frame belongs to the forward direction if its source lies behind `iif`; it is written as it leaves by
    `oif`. Answers in the same capture, which a tap on `iif` saw already mapped back, keep connection tracking
    up to date and are not written; nor is what the host itself sends or receives, or what stays on the network.
    Of frames that were cut the checksums are taken for right, and what is written is cut at the same place; less than 60 bytes of
    one, or of a fragment not all, are dropped. `progress` is told now and then which part of the frames is done.

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
    gateway = next((int(ipaddress.IPv4Address(r["via"])) for r in box.get("routes", ()) if r.get("via") and r["dev"] == oif), -1)
    neighbours = _neighbours(box, oif)
    networks = [(int(net.network_address), int(net.netmask)) for net in (ipaddress.IPv4Interface(a).network for a in interfaces[iif])]
    own = [(int(ipaddress.IPv4Interface(a).ip), 0xFFFFFFFF) for addresses in interfaces.values() for a in addresses]
    data = contents(source)
    records = Records(data, source)
    counts = Translated()
    start = 0
    with PcapngWriter(target, "natfast") as writer:
        translator = Translator(nat, iif, oif, networks, own, neighbours, neighbours.get(gateway), mac_out, BlockBuffer(writer),
                                writer.add_interface(oif))
        while len(table := records.take(CHUNK)):
            start = start if counts.frames else int(table["ns"][0])
            translator.send(data, table, start)
            counts.frames += len(table)
            if progress is not None:
                progress(records.at / len(data))
    counts.translated, counts.returned, counts.other = translator.translated, translator.returned, translator.other
    counts.dropped = counts.frames - counts.translated - counts.returned - counts.other
    return counts
