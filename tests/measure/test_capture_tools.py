"""Others' tools judge our packets: tshark's checksums, scapy's and dpkt's dissection."""
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import dpkt
import pytest
from scapy.all import IP, Ether, rdpcap

from natfast.capture import CaptureError, PcapngWriter, read
from simcore.docker.compose import load
from simcore.study.scenario import World


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "packets.pcapng"
    world = World(load(Path(__file__).parent.parent.parent / "examples" / "journey.yaml"))
    world.capture(path)
    world.run()
    return path


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
def test_tshark_finds_no_bad_checksum(packets: Path) -> None:
    done = subprocess.run(
        ["tshark", "-r", packets, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
         "-T", "fields", "-e", "frame.interface_name", "-e", "ip.checksum.status", "-e", "tcp.checksum.status",
         "-e", "icmp.checksum.status", "-e", "_ws.malformed"], capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) > 100
    assert {r[0] for r in rows} == {"container1/eth0", "container2/eth0", "host/eth0", "host/docker0", "host/veth-container1",
                                    "host/veth-container2", "router/eth0", "router/eth1", "web/eth0"}
    statuses = {s for r in rows for s in r[1:4] if s}
    assert statuses == {"1"}, "1 is good, 0 is bad"
    assert not any(r[4] for r in rows)


def test_scapy_and_dpkt_dissect_every_frame(packets: Path) -> None:
    frames = [p.frame for p in read(packets)]
    for frame in frames:
        p = Ether(frame)
        assert bytes(p) == frame
        if IP in p:
            rebuilt = p.copy()
            del rebuilt[IP].chksum
            for layer in ("TCP", "UDP", "ICMP"):
                if rebuilt.haslayer(layer):
                    del rebuilt[layer].chksum
            assert bytes(rebuilt) == frame, "scapy computes the same checksums"
        dpkt.ethernet.Ethernet(frame)
    with packets.open("rb") as f:
        assert [bytes(b) for _, b in dpkt.pcapng.Reader(f)] == frames
    assert len(rdpcap(str(packets))) == len(frames)


def test_reader_reads_what_the_writer_wrote(tmp_path: Path) -> None:
    with PcapngWriter(tmp_path / "a.pcapng") as w:
        n = w.add_interface("host/eth0")
        m = w.add_interface("web/eth0")
        w.write(n, 1.000000001, b"x" * 61, comment="why")
        w.write(m, 2.5, b"y" * 10, length=100)
    got = list(read(tmp_path / "a.pcapng"))
    assert [(p.interface, p.frame, p.length) for p in got] == [("host/eth0", b"x" * 61, 61), ("web/eth0", b"y" * 10, 100)]
    assert got[0].time == pytest.approx(1.000000001, abs=1e-10)


@pytest.mark.parametrize("cut", [1, 4, 13, 30, 45])
def test_damaged_files_are_errors(tmp_path: Path, cut: int) -> None:
    with PcapngWriter(tmp_path / "a.pcapng") as w:
        w.write(w.add_interface("a"), 0.0, b"x" * 60)
    (tmp_path / "b.pcapng").write_bytes((tmp_path / "a.pcapng").read_bytes()[:-cut])
    with pytest.raises(CaptureError):
        list(read(tmp_path / "b.pcapng"))
