"""The rig of `tests/kernel/rig` brought up around a live comparison, where root."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from simcore.study import emulate

RIG = Path(__file__).parent / "rig"
ORACLE = Path(__file__).parent.parent / "data" / "oracle"
TOOLS = ("ip", "bridge", "iptables-restore", "ethtool", "conntrack", "sysctl")


def _missing() -> str:
    if os.geteuid() != 0:
        return "needs root"
    missing = [t for t in TOOLS if shutil.which(t) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "cannot make network namespaces"


RIG_MISSING = _missing()
"""Why the rig cannot run here; empty if it can."""
EMULATE_MISSING = RIG_MISSING or emulate.missing()
"""Why programs of this machine cannot take part in a simulation; empty if they can."""


@contextmanager
def rig(brnf: int = 1, rules: Path = ORACLE / "docker.v4") -> Iterator[Any]:
    """The rig's box: a real Docker host in network namespaces."""
    env = {**os.environ, "BRNF": str(brnf), "RULES": str(rules)}
    up = subprocess.run([RIG / "topo.sh", "up"], env=env, capture_output=True, text=True, check=False)
    if up.returncode:
        pytest.skip(f"the rig does not come up here: {up.stderr.strip().splitlines()[-1] if up.stderr.strip() else up.returncode}")
    sys.path.insert(0, str(RIG))
    # on one processor: what the kernel still counts (connlimit) depends on whether it is the one that saw it
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        import oracle
        yield oracle.Box()
    finally:
        os.sched_setaffinity(0, processors)
        sys.path.remove(str(RIG))
        subprocess.run([RIG / "topo.sh", "down"], check=False)
