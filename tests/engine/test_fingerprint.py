"""The journey's trajectory, as a hash. It changes only on purpose: then write the new one here and say why."""
from __future__ import annotations

import hashlib
from pathlib import Path

from simcore.docker.compose import load
from simcore.study.scenario import World

JOURNEY = "edff2e988ff95625c2fef542f5c1e40c90e4767a2a412061657739469a37cc87"


def test_journey(root: Path, tmp_path: Path) -> None:
    world = World(load(root / "examples" / "journey.yaml"))
    world.capture(tmp_path / "packets.pcapng")
    world.run()
    assert hashlib.sha256((tmp_path / "packets.pcapng").read_bytes()).hexdigest() == JOURNEY
