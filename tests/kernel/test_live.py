"""Where root: fresh random conversations through this machine's kernel and through simcore, frame by frame.

The seed is printed; `LIVE_SEED` repeats it, `LIVE_CONVERSATIONS` sets how many.
"""
from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.all import Ether

from simcore.replay import Box, same_frame, same_table

RIG = Path(__file__).parent / "rig"
ORACLE = Path(__file__).parent.parent / "data" / "oracle"
# continuous integration repeats one seed; anywhere else every run is a new one
SEED = int(os.environ.get("LIVE_SEED", 20261124 if os.environ.get("CI") else random.SystemRandom().randrange(1 << 31)))
CONVERSATIONS = int(os.environ.get("LIVE_CONVERSATIONS", "500"))
TOOLS = ("ip", "bridge", "iptables-restore", "ethtool", "conntrack", "sysctl")


def rig_works() -> str:
    """Why the rig cannot run here; empty if it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [t for t in TOOLS if shutil.which(t) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "cannot make network namespaces"


pytestmark = pytest.mark.skipif(bool(rig_works()), reason=rig_works() or "-")


@pytest.fixture(params=[1, 0], ids=["brnf1", "brnf0"])
def kernel(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any, Box]]:
    """The rig up: its box, its cases module, and ours with the same settings."""
    env = {**os.environ, "BRNF": str(request.param), "RULES": str(ORACLE / "docker.v4")}
    up = subprocess.run([RIG / "topo.sh", "up"], env=env, capture_output=True, text=True, check=False)
    if up.returncode:
        pytest.skip(f"the rig does not come up here: {up.stderr.strip().splitlines()[-1] if up.stderr.strip() else up.returncode}")
    sys.path.insert(0, str(RIG))
    try:
        import cases
        import oracle
        yield oracle.Box(), cases, Box.load(ORACLE / ("box.json" if request.param else "box-brnf0.json"))
    finally:
        sys.path.remove(str(RIG))
        subprocess.run([RIG / "topo.sh", "down"], check=False)


def by_wire(frames: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    out: dict[str, list[bytes]] = {}
    for name, f in frames:
        out.setdefault(name, []).append(f)
    return out


def dissected(frames: dict[str, list[bytes]]) -> str:
    return "\n".join(f"    {name}: {len(f)} bytes {f[:120].hex()}\n      {Ether(f).summary()}" for name, fs in frames.items() for f in fs) or "    nothing"


def own_report(line: str) -> bool:
    """The kernel's bridge joins multicast groups by itself, at times of its own."""
    return "dst=224.0.0.22 " in line


def conversation(real: Any, ours: Box, steps: list[tuple[str, bytes]]) -> str:
    """Send it through both; what differs first, empty if nothing does."""
    real.reset()
    ours.reset()
    for i, (wire, frame) in enumerate(steps):
        real.wires[wire].send(frame)
        seen = real.drain(0.006)
        got = ours.inject(wire, frame, i * 0.001, observed=seen)
        want, have = by_wire(seen), by_wire(got)
        same = want.keys() == have.keys() and all(
            len(want[n]) == len(have[n]) and all(map(lambda a, b: same_frame(a, b, ours.addresses), want[n], have[n])) for n in want)
        if not same:
            prefix = "\n".join(f"    {w} {f.hex()}  {Ether(f).summary()}" for w, f in steps[:i + 1])
            return f"step {i + 1}\n  kernel\n{dissected(want)}\n  simcore\n{dissected(have)}\n  after\n{prefix}"
    table = [line for line in real.conntrack() if not own_report(line)]
    mine = ours.conntrack()
    if not same_table(table, mine):
        return "conntrack after the last step\n  kernel\n    " + "\n    ".join(table) + "\n  simcore\n    " + "\n    ".join(mine)
    return ""


def test_random_conversations(kernel: tuple[Any, Any, Box]) -> None:
    real, cases, ours = kernel
    print(f"LIVE_SEED={SEED}")
    once = 0
    for k in range(CONVERSATIONS // 2):
        steps = cases.rand_case(random.Random(f"{SEED}/{k}"))
        difference = conversation(real, ours, steps)
        if difference:
            again = next((d for n in range(1, len(steps) + 1) if (d := conversation(real, ours, steps[:n]))), "")
            if again:
                pytest.fail(f"LIVE_SEED={SEED} conversation {k}: {again}")
            # the kernel answered later than we listened, or drew another port: it must stay an exception
            once += 1
            print(f"conversation {k} differed once, not again: {difference}")
    assert once <= CONVERSATIONS // 100
