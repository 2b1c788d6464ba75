"""Builds and runs the ns-3 program where Debian's libns3-dev (or another ns-3) and a C++ compiler are installed."""
from __future__ import annotations

import glob
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("ns3_wan.cc")
MODULES = ("applications", "traffic-control", "point-to-point", "bridge", "internet", "network", "stats", "core")


def build() -> tuple[Path | None, str]:
    """The program, or None and the reason why there is none."""
    if shutil.which("g++") is None:
        return None, "needs g++"
    headers = sorted(glob.glob("/usr/include/ns3*/ns3/core-module.h") + glob.glob("/usr/include/ns3/core-module.h"))
    libraries = glob.glob("/usr/lib/*/libns3*-core*.so") + glob.glob("/usr/lib/libns3*-core*.so")
    if not headers or not libraries:
        return None, "needs ns-3 (Debian: libns3-dev)"
    match = re.fullmatch(r"lib(ns3.*-)core(.*)\.so", Path(libraries[0]).name)
    assert match is not None
    out = Path(tempfile.mkdtemp()) / "ns3_wan"
    done = subprocess.run(["g++", "-O2", "-std=c++17", "-w", f"-I{Path(headers[0]).parents[1]}", str(SOURCE), "-o", str(out),
                           f"-L{Path(libraries[0]).parent}", *(f"-l{match[1]}{m}{match[2]}" for m in MODULES)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        return None, "ns-3 does not build here: " + (done.stderr.strip().splitlines() or ["?"])[0]
    return out, ""


def run(program: Path, containers: int, seconds: float, tcp: bool) -> float:
    """ns per packet, or per delivered segment."""
    done = subprocess.run([program, f"--containers={containers}", f"--seconds={seconds}", f"--tcp={int(tcp)}"], capture_output=True,
                          text=True, check=True)
    return float(done.stdout.split()[0])
