"""`natfast translate` on real captures, `natfast bench`'s keys, errors."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from natfast.capture import read

HOST = bytes([192, 168, 1, 100])


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "natfast.cli", *map(str, args)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["tcp_out", "udp_out", "ping_out"])
def test_a_container_capture_becomes_the_host_capture(name: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    done = run("translate", data / "captures" / f"{name}.c1_eth0.pcap", out, "--box", data / "oracle" / "box.json",
               "--iif", "docker0", "--oif", "eth0")
    assert done.returncode == 0, done.stderr
    ours = [p.frame for p in read(out)]
    kernel = [p.frame for p in read(data / "captures" / f"{name}.host_eth0.pcap") if p.frame[26:30] == HOST]
    assert len(ours) >= 2
    assert ours == kernel


def test_errors_leave_nothing_behind(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    broken = tmp_path / "broken.pcap"
    broken.write_bytes((data / "captures" / "tcp_out.c1_eth0.pcap").read_bytes()[:-7])
    box = data / "oracle" / "box.json"
    done = run("translate", broken, out, "--box", box, "--iif", "docker0", "--oif", "eth0")
    assert done.returncode == 2
    assert "is cut off" in done.stderr
    assert list(tmp_path.iterdir()) == [broken]
    done = run("translate", data / "captures" / "tcp_out.c1_eth0.pcap", out, "--box", box, "--iif", "docker9", "--oif", "eth0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'docker9' is not there" in done.stderr
    broken.write_text("not a capture")
    done = run("translate", broken, out, "--box", box, "--iif", "docker0", "--oif", "eth0")
    assert "neither pcap nor pcapng" in done.stderr


def test_bench_keys() -> None:
    done = run("bench", "--flows", "100", "--frames", "10000", "--json")
    row = json.loads(done.stdout)
    assert {"flows", "ns_per_packet", "mpps", "insert_ns", "expire_ns", "bytes_per_flow"} <= row.keys()
    assert row["flows"] == 100
