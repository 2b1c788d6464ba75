"""Every recorded step of a real Linux 6.18 Docker host, byte for byte, conntrack included."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from simcore.replay import Box, replay_case

ORACLE = Path(__file__).parent.parent / "data" / "oracle"
SETS = {"named": "box.json", "named-brnf0": "box-brnf0.json", "random": "box.json", "added": "box.json",
        "with-rules": "box.json", "with-rules-brnf0": "box-brnf0.json",          # these two: a ruleset beside each case
        "with-settings": "box.json"}                                             # its whole box beside each
CASES = [(group, case.stem) for group in SETS for case in sorted((ORACLE / group).glob("*.jsonl"))]

# The rig empties conntrack between cases, not the fragment queues: the last fragment that "fragment-missing"
# left behind completes the first one of "fragment-duplicate", which was recorded right after it.
LEFT_BEHIND = {"fragment-duplicate": "fragment-missing"}
# While this one was recorded the bridge sent an IGMP membership report of its own; it is in no frame of the
# case, only in the table.
OWN_REPORT = {("named-brnf0", "tcp-rst-out-of-window")}


@pytest.mark.parametrize(("group", "case"), CASES)
def test_case(group: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    described = ORACLE / group / f"{case}.json"
    box = Box(json.loads(described.read_text())) if described.exists() else Box.load(ORACLE / SETS[group])
    rules = ORACLE / group / f"{case}.v4"
    if rules.exists():
        box = Box({**box.description, "rules": rules.read_text()})
    if case in LEFT_BEHIND:
        replay_case(box, ORACLE / group / f"{LEFT_BEHIND[case]}.jsonl")
        box.host.netfilter.flush_conntrack()
        monkeypatch.setattr(box, "reset", lambda: None)
    steps, differences = replay_case(box, ORACLE / group / f"{case}.jsonl", conntrack=True)
    if (group, case) in OWN_REPORT:
        differences = [d for d in differences if "dst=224.0.0.22" not in d.expected]
    assert steps > 0
    assert not differences, "\n".join(map(str, differences))


def test_the_comparison_notices_a_difference(tmp_path: Path) -> None:
    text = (ORACLE / "named" / "seed-journey-http.jsonl").read_text()
    wrong = text.replace("0200c0a801010200c0a801640800", "0200c0a801010200c0a801650800", 1)
    assert wrong != text
    case = tmp_path / "case.jsonl"
    case.write_text(wrong)
    box = Box.load(ORACLE / "box.json")
    steps, differences = replay_case(box, case)
    assert (steps, len(differences)) == (10, 1)
    case.write_text(text.replace("SYN_RECV", "ESTABLISHED"))
    assert len(replay_case(box, case, conntrack=True)[1]) == 1
    assert replay_case(box, case)[1] == []


def test_reset_forgets_everything() -> None:
    box = Box.load(ORACLE / "box.json")
    replay_case(box, ORACLE / "named" / "udp-exchange.jsonl")
    assert box.conntrack()
    box.reset()
    assert box.conntrack() == []
    assert box.env.now == 0
