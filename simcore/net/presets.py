"""Measured costs of packets on real hosts, by name, and files of them that `simcore calibrate` writes."""
from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from simcore.errors import ScenarioError
from simcore.files import read_text
from simcore.net.cpu import Costs

PRESETS = {
    # Linux 6.18, one core, 60-byte UDP, Docker's rules in iptables-legacy. Differences of whole paths: routing and
    # one more veth crossing 236 ns (split in two here, they were not measured apart), bridge 115, conntrack with its
    # hooks and one rule 168, masquerading 64, Docker's other nine rules 93, a new flow 1000 more, and 345 between one
    # connection and 100 000. Delivery to sockets was not measured.
    "linux-6.18": Costs(receive=120, route=116, bridge=115, conntrack=159, nat=64, rule=9, new_flow=1000, cold=345),
}


def load(name: str) -> Costs:
    """Costs by preset or from a JSON file.

    Raises
    ------
    ScenarioError
        If there is neither, or the file holds something else.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    try:
        text = read_text(path)
    except ScenarioError as error:
        raise ScenarioError(f"cpu preset {name!r}: expected {', '.join(PRESETS)}, or a file that `simcore calibrate` wrote "
                            f"({error})") from None
    try:
        data: dict[str, Any] = json.loads(text)
        return Costs(**{k: float(v) for k, v in data["costs"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        known = ", ".join(f.name for f in fields(Costs))
        raise ScenarioError(f"{path}: not a file of costs ({error}); expected JSON with \"costs\": {known}") from None
