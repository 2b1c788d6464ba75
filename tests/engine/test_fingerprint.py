"""The journey's trajectory, as a hash. It changes only on purpose: then write the new one here and say why."""
from __future__ import annotations

import hashlib
from pathlib import Path

from simcore.docker.compose import load
from simcore.study.scenario import World

JOURNEY = "49358b907f2633895e618f04fa71dfc55af8807d23e129fc9814b1da714cb4b9"


def test_journey(root: Path, tmp_path: Path) -> None:
    world = World(load(root / "examples" / "journey.yaml"))
    world.capture(tmp_path / "packets.pcapng")
    world.run()
    assert hashlib.sha256((tmp_path / "packets.pcapng").read_bytes()).hexdigest() == JOURNEY
