"""Probes: what they say is right, and nothing changes because of them."""
from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from natfast import capture
from simcore.docker.compose import Compose
from simcore.engine import Environment
from simcore.engine.histogram import Histogram
from simcore.errors import ScenarioError
from simcore.measure.expression import compile_filter
from simcore.study.progress import Progress
from simcore.study.scenario import World

MIX: dict[str, Any] = {"services": {"c0": {}, "c1": {}}, "x-simcore": {
    "duration": "3s", "seed": 4, "links": {"host": {"rate": "20Mbit", "latency": "1ms", "queue": 20},
                                           "server": {"rate": "10Mbit", "latency": "5ms", "queue": 10, "loss": "2%"}},
    "servers": {"web": {"address": "93.184.216.34", "http": {"port": 80, "size": 30000}}},
    "workloads": [{"kind": "udp", "from": "c0", "to": "web", "port": 9, "rate": 300, "size": 1000},
                  {"kind": "http", "from": "c1", "to": "web", "count": 3, "interval": "100ms"},
                  {"kind": "ping", "from": "c0", "to": "web", "count": 5, "interval": "200ms"}]}}


def run(path: Path, probes: bool) -> tuple[bytes, World]:
    world = World(Compose.model_validate(MIX))
    world.capture(path)
    if probes:
        world.record_flows()
        world.measure_waits()
        world.sample(0.05)
    world.run()
    return path.read_bytes(), world


def test_probes_change_nothing(tmp_path: Path) -> None:
    plain, a = run(tmp_path / "a.pcapng", False)
    probed, b = run(tmp_path / "b.pcapng", True)
    assert plain == probed
    assert a.summary()["workloads"] == b.summary()["workloads"]


def test_flow_records_agree_with_links_and_captures(tmp_path: Path) -> None:
    _, world = run(tmp_path / "a.pcapng", True)
    summary = world.summary()
    udp = next(f for f in summary["flows"] if f["protocol"] == "udp" and f["destination"].endswith(":9"))
    w = summary["workloads"][0]
    assert (udp["packets"], udp["delivered_packets"]) == (w["sent"], w["received"])
    assert udp["lost"] == w["sent"] - w["received"] > 5
    assert udp["delay_s"]["mean"] == pytest.approx(w["mean_delay_s"])
    assert udp["arrives_from"].startswith("192.168.1.100:")
    tcp = [f for f in summary["flows"] if f["protocol"] == "tcp" and f["source"].startswith("172.17")]
    assert len(tcp) == 3
    assert all(0.012 < f["rtt_s"] < 0.2 for f in tcp)
    icmp = next(f for f in summary["flows"] if f["protocol"] == "icmp" and f["source"].startswith("172.17"))
    assert icmp["packets"] == 5
    # the web server's link: frames of all flows and ARP
    ends = [f for f in summary["flows"] if f["destination"].startswith("93.184.216.34")]
    arp = sum(1 for r in capture.read(tmp_path / "a.pcapng") if r.frame[12:14] == b"\x08\x06" and r.interface == "web/eth0") / 2
    received = summary["interfaces"]["web/eth0"]["rx_packets"]
    assert sum(f["delivered_packets"] for f in ends) == received - arp


def test_series_are_exact_averages(tmp_path: Path) -> None:
    _, world = run(tmp_path / "a.pcapng", True)
    assert world.sampler is not None
    rows, link = world.sampler.rows, world.link("router/eth1")
    world.sampler.write(tmp_path / "series.csv")
    read = list(csv.DictReader((tmp_path / "series.csv").open()))
    assert len(read) == len(rows) == pytest.approx(60, abs=1)
    span = rows[-1]["time_s"]
    assert sum(r["router/eth1 utilisation"] for r in rows) * 0.05 == pytest.approx(link.bytes * 8 / 10e6, rel=0.05)
    assert sum(r["router/eth1 dropped"] for r in rows) <= link.dropped + link.lost
    assert max(r["router/eth1 queue"] for r in rows) <= 10
    assert any(r.get("conntrack tcp ESTABLISHED", 0) for r in rows)
    assert span <= 3.0
    assert link.delays is not None
    assert link.delays.count == link.packets
    assert link.delays.mean == pytest.approx(link.waited / link.packets)


def test_capture_filter_and_snap_length(tmp_path: Path) -> None:
    run(tmp_path / "all.pcapng", False)
    world = World(Compose.model_validate(MIX))
    world.capture(tmp_path / "some.pcapng", "tcp port 80 and src net 172.17.0.0/16", 60, ["host/eth0", "c1/eth0"])
    world.run()
    want = [(r.time, r.frame[:60]) for r in capture.read(tmp_path / "all.pcapng")
            if r.interface in ("host/eth0", "c1/eth0") and r.frame[23] == 6 and r.frame[26:28] == bytes([172, 17])]
    got = [(r.time, r.frame) for r in capture.read(tmp_path / "some.pcapng")]
    assert got == want
    assert len(got) > 10
    with pytest.raises(ScenarioError, match="expected one of"):
        World(Compose.model_validate(MIX)).capture(tmp_path / "x.pcapng", interfaces=["host/eth9"])


def independent(text: str, frame: bytes) -> bool:
    """The same questions to dpkt."""
    eth = dpkt.ethernet.Ethernet(frame)
    ip = eth.data if isinstance(eth.data, dpkt.ip.IP) else None
    l4 = ip.data if ip is not None and isinstance(ip.data, dpkt.tcp.TCP | dpkt.udp.UDP) else None
    return {
        "arp": isinstance(eth.data, dpkt.arp.ARP), "ip": ip is not None, "icmp": ip is not None and ip.p == 1,
        "tcp": ip is not None and ip.p == 6, "port 80": l4 is not None and 80 in (l4.sport, l4.dport),
        "dst port 80": l4 is not None and l4.dport == 80, "udp portrange 8-10": isinstance(l4, dpkt.udp.UDP) and (
            8 <= l4.sport <= 10 or 8 <= l4.dport <= 10),
        "ip src 172.17.0.2": ip is not None and ip.src == bytes([172, 17, 0, 2]),
        "ip dst net 93.184.0.0/16": ip is not None and ip.dst[:2] == bytes([93, 184]), "greater 500": len(frame) >= 500,
        "less 60": len(frame) <= 60,
    }[text]


ATOMS = ["arp", "ip", "icmp", "tcp", "port 80", "dst port 80", "udp portrange 8-10", "ip src 172.17.0.2", "ip dst net 93.184.0.0/16",
         "greater 500", "less 60"]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("frames") / "a.pcapng"
    run(path, False)
    return [r.frame for r in capture.read(path)][::7]


@given(a=st.sampled_from(ATOMS), b=st.sampled_from(ATOMS), c=st.sampled_from(ATOMS), na=st.booleans(), nb=st.booleans(),
       first=st.sampled_from(["and", "or", "&&", "||"]), second=st.sampled_from(["and", "or"]))
def test_filters_mean_what_tcpdump_means(frames: list[bytes], a: str, b: str, c: str, na: bool, nb: bool, first: str, second: str) -> None:
    test = compile_filter(f"{'not ' if na else ''}{a} {first} ({'!' if nb else ''}({b}) {second} {c})")
    for f in frames[:300]:
        x, y, z = independent(a, f) != na, independent(b, f) != nb, independent(c, f)
        inner = (y and z) if second == "and" else (y or z)
        assert test(f) == ((x and inner) if first in ("and", "&&") else (x or inner))


@pytest.mark.parametrize(("text", "message"), [
    ("", "expected a protocol"), ("tcp and", "expected a protocol.*found the end"), ("port http", "a number up to 65535"),
    ("host 1.2.3", "an IPv4 address"), ("net 10.0.0.1/8", "a network"), ("(tcp", r"'\)'"), ("tcp udp", "'and', 'or' or the end"),
    ("portrange 9-8", "a range of ports"), ("port 70000", "up to 65535")])
def test_bad_filters(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        compile_filter(text)


@given(st.lists(st.floats(1e-9, 1e6), min_size=1, max_size=300), st.floats(0, 1))
def test_histogram_quantiles_are_within_their_error(values: list[float], q: float) -> None:
    h = Histogram()
    for v in values:
        h.add(v)
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    assert h.quantile(q) == pytest.approx(exact, rel=1 / 128)
    assert h.count == len(values)
    assert h.mean == pytest.approx(np.mean(values))
    assert (h.least, h.most) == (min(values), max(values))
    other = Histogram()
    other.merge(h)
    assert other.quantile(q) == h.quantile(q)
    assert h.table()[:, 2].sum() == len(values)


HEAVY: dict[str, Any] = {"services": {"c0": {}}, "x-simcore": {
    "duration": "100000s", "servers": {"web": {"address": "93.184.216.34"}},
    "workloads": [{"kind": "udp", "from": "c0", "to": "web", "port": 9, "rate": 100000}]}}


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_ctrl_c_leaves_partial_results(tmp_path: Path, engine: str) -> None:
    (tmp_path / "heavy.yaml").write_text(json.dumps(HEAVY))
    process = subprocess.Popen([sys.executable, "-m", "simcore.cli", "run", "heavy.yaml", "--json", "--no-capture", "--engine", engine],
                               cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = next((line for line in process.stderr if "s simulated of 100000" in line), "")       # progress, after two seconds
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert said
    assert process.returncode == 130
    summary = json.loads(out)
    assert summary["partial"] is True
    assert 0 < summary["simulated_s"] < 100000
    assert summary["workloads"][0]["received"] > 1000
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary
    assert "partial" in err.splitlines()[-1]


def test_progress_is_rewritten_on_a_terminal_and_plain_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True
    for stream, mark in ((io.StringIO(), "\n"), (Terminal(), "\r")):
        env = Environment()
        with Progress(env, 10.0, stream) as progress:
            progress.look()
            assert stream.getvalue() == ""              # nothing in the first two seconds
            progress.status.next = 0
            progress.look()
        assert mark in stream.getvalue()
        assert "simulated of 10" in stream.getvalue() or "0.000 s simulated" in stream.getvalue()
