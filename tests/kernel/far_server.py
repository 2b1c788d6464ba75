"""A container, and a server at 93.184.216.34 behind a link of the test's choice: the path that real programs are put on."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from simcore.docker import compose
from simcore.study.scenario import World

ADDRESS = "93.184.216.34"


def far_server(path: Path, container: str, server: str, link: dict[str, Any], seed: int = 1, ports: Sequence[int] = (),
               sysctls: dict[str, Any] | None = None) -> World:
    """The world, from a Compose file that is written to `path`; the container's `ports` are published as they are; both ends
    have the `sysctls`.
    """
    path.write_text(yaml.safe_dump({
        "services": {container: {"image": "x", "ports": [f"{port}:{port}" for port in ports], "sysctls": sysctls or {}}},
        "x-simcore": {"servers": {server: {"address": ADDRESS, "link": link, "sysctls": sysctls or {}}},
                      "links": {"container": {"rate": "10Gbit", "latency": "5us"}, "host": {"rate": "1Gbit", "latency": "20us"}}}}))
    return World(compose.load(path), seed)
