"""Descriptions of hosts and recorded cases with anything in them: each is replayed, or refused in one line that names the file."""
from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated

from natfast.errors import BoxError, NatfastError
from natfast.translate import translate
from simcore.replay import Box, replay_case

KEYS = ("foo", "interfaces", "rules", "mtu", "frame", "out", "t")
AGAIN = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def oracle() -> Path:
    """The recorded host's directory."""
    return Path(__file__).parent.parent / "data" / "oracle"


@AGAIN
@given(seed=st.integers(0, 2**32))
def test_any_box_is_built_or_refused(tmp_path: Path, oracle: Path, seed: int) -> None:
    shutil.copy(oracle / "docker.v4", tmp_path)
    box, case, refused = tmp_path / "box.json", oracle / "named" / "icmp-echo.jsonl", str(tmp_path)
    box.write_text(json.dumps(mutated(json.loads((oracle / "box.json").read_text()), random.Random(seed), KEYS)))
    try:
        replay_case(Box.load(box), case, True)
        translate(oracle.parent / "captures" / "tcp_out.host_docker0.pcap", tmp_path / "out.pcapng", box, "docker0", "eth0")
    except NatfastError as error:
        refused = str(error)
    assert refused.startswith((str(tmp_path), "docker.v4: ", f"{case}: line "))      # the case's wires may be missing in the box
    assert "\n" not in refused


@AGAIN
@given(seed=st.integers(0, 2**32))
def test_any_case_is_replayed_or_refused(tmp_path: Path, oracle: Path, seed: int) -> None:
    rng = random.Random(seed)
    case, refused = tmp_path / "case.jsonl", str(tmp_path / "case.jsonl")
    lines = rng.choice(sorted((oracle / "named").glob("*.jsonl"))).read_text().splitlines()
    k = rng.randrange(len(lines))
    lines[k] = lines[k][:rng.randrange(len(lines[k]))] if rng.random() < 0.2 else json.dumps(mutated(json.loads(lines[k]), rng, KEYS))
    case.write_text("\n".join(lines) + "\n")
    try:
        replay_case(Box.load(oracle / "box.json"), case, True)
    except BoxError as error:
        refused = str(error)
    assert refused.startswith(str(case))
    assert "\n" not in refused
