"""The trajectory of every example, as a hash of its capture.

It changes only on purpose: then run `python tests/engine/test_fingerprint.py`, and say why in the commit.
"""
from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest

from simcore.study.source import make_world, source

ROOT = Path(__file__).parents[2]
KNOWN = ROOT / "tests" / "data" / "fingerprints.json"
EXAMPLES = sorted(p for p in (ROOT / "examples").rglob("*") if p.suffix in (".yaml", ".py") and ".cure" not in p.name)
LONGEST = 3.0
"""Seconds of each that are looked at, the journey excepted."""


def fingerprint(example: Path, directory: Path, engine: str = "compiled") -> str:
    world = make_world(source(example), engine=engine)
    world.capture(directory / "packets.pcapng")
    world.run(None if example.name == "journey.yaml" else LONGEST)
    return hashlib.sha256((directory / "packets.pcapng").read_bytes()).hexdigest()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_fingerprints(example: Path, tmp_path: Path) -> None:
    assert fingerprint(example, tmp_path) == json.loads(KNOWN.read_text())[example.relative_to(ROOT).as_posix()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_both_engines(example: Path, tmp_path: Path) -> None:
    assert fingerprint(example, tmp_path, "simpy") == json.loads(KNOWN.read_text())[example.relative_to(ROOT).as_posix()]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        KNOWN.write_text(json.dumps({p.relative_to(ROOT).as_posix(): fingerprint(p, Path(name)) for p in EXAMPLES}, indent=2) + "\n")
