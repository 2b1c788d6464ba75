"""Programs of this machine on a simulated network, where root: the kernel's own stack is at the other end."""
from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from natfast.capture import read
from simcore.docker import compose
from simcore.study.emulate import Emulation
from simcore.study.scenario import World
from simcore.transport import UdpSocket
from tests.cli.test_simcore import run
from tests.kernel.rig_up import EMULATE_MISSING

pytestmark = pytest.mark.skipif(bool(EMULATE_MISSING), reason=EMULATE_MISSING)

Process = Any
COMPOSE = """
services:
  sweb: {image: web, ports: ["8080:80"], sysctls: {net.ipv4.tcp_sack: 0}}
  sworker: {image: worker}
x-simcore:
  duration: 30s
  links:
    container: {rate: 10Gbit, latency: 5us}
    host: {rate: 1Gbit, latency: 50us}
    server: {rate: 200Mbit, latency: 20ms}
  servers:
    sapi: {address: 93.184.216.34, http: {port: 80, body: hello from afar}}
"""
GET = """
import sys, urllib.request
for url in sys.argv[1:]:
    print(urllib.request.urlopen(url, timeout=20).read().decode())
"""
SERVE = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.client_address[0].encode())
http.server.HTTPServer(("", 80), Handler).serve_forever()
"""
SACK = "print(open('/proc/sys/net/ipv4/tcp_sack').read().strip(), open('/proc/net/route').read().count('eth0'))"

ASK = r"""
import errno, json, socket, sys
SERVER = "93.184.216.34"
out = {}

def udp(**options):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.setsockopt(socket.IPPROTO_IP, 11, 1)              # IP_RECVERR
    for name, value in options.items():
        s.setsockopt(socket.IPPROTO_IP, {"ttl": 2, "discover": 10}[name], value)
    return s

def failure(s):
    # the error that the network answers with: its number, ICMP type and code, who said it, and its MTU
    try:
        s.recv(10)
    except OSError as error:
        number = error.errno
    for level, kind, data in s.recvmsg(4000, 512, socket.MSG_ERRQUEUE)[1]:
        return [errno.errorcode[number], data[5], data[6], socket.inet_ntoa(data[20:24]), int.from_bytes(data[8:12], sys.byteorder)]

s = udp()
s.connect((SERVER, 9))
s.send(b"x")
out["closed"] = failure(s)
for ttl in (1, 2):
    s = udp(ttl=ttl)
    s.connect((SERVER, 7))
    s.send(b"x")
    out["ttl %d" % ttl] = failure(s)
s = udp(discover=2)                                     # IP_PMTUDISC_DO
s.connect((SERVER, 7))
s.send(bytes(1400))
out["too big"] = failure(s)
out["mtu"] = s.getsockopt(socket.IPPROTO_IP, 14)        # IP_MTU
s = udp(discover=0)                                     # in fragments, both ways
s.connect((SERVER, 7))
data = bytes(i * 7 % 251 for i in range(4000))
s.send(data)
out["fragments"] = s.recv(5000) == data
t = socket.socket()
try:
    t.connect((SERVER, 81))
except OSError as error:
    out["reset"] = errno.errorcode[error.errno]
t = socket.create_connection((SERVER, 80))              # segments as long as its MSS until it is told better
t.sendall(b"POST / HTTP/1.1\r\nContent-Length: 20000\r\nConnection: close\r\n\r\n" + bytes(20000))
out["post"] = t.recv(20).decode()
json.dump(out, open(sys.argv[1], "w"))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return tmp_path / "compose.yaml"


def left_behind() -> list[str]:
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    return [name for name in ("sweb", "sworker", "sapi") if name in names or Path("/etc/netns", name).exists()]


def test_a_real_client_is_masqueraded(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("emulate", file, "--real", "sworker", "--out", out, "--", sys.executable, "-c", GET, "http://sapi/", "http://93.184.216.34/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["hello from afar", "hello from afar"]
    summary = json.loads((out / "summary.json").read_text())
    flows = [line for line in summary["conntrack"] if "TIME_WAIT" in line]
    assert len(flows) == 2
    assert all("src=172.17.0.3 dst=93.184.216.34" in line and "dst=192.168.1.100" in line for line in flows)
    frames = list(read(out / "packets.pcapng"))
    syn = [p for p in frames if p.frame[23:24] == b"\6" and p.frame[47] == 2][7:]         # the second's: the first waits for ARP
    assert [p.interface for p in syn] == ["sworker/eth0", "host/veth-sworker", "host/docker0", "host/eth0", "router/eth0",
                                              "router/eth1", "sapi/eth0"]
    assert [p.frame[22] for p in syn] == [64, 64, 64, 63, 63, 62, 62]
    assert 0.02 <= syn[6].time - syn[0].time < 0.021          # in simulated time: what the links take, wherever the ends are
    assert summary["emulation"]["machines"] == ["sworker"]
    own = bytes.fromhex("0242ac110003")
    assert summary["emulation"]["from_real"] == sum(p.interface == "sworker/eth0" and p.frame[6:12] == own for p in frames)
    assert not left_behind()


def test_simulated_clients_reach_a_real_server_by_its_published_port(file: Path, tmp_path: Path) -> None:
    file.write_text(COMPOSE + """
  workloads:
    - {kind: http, from: sapi, to: 192.168.1.100, port: 8080, start: 1.5, count: 3}
    - {kind: http, from: sworker, to: sweb, start: 1.5}
    - {kind: ping, from: sapi, to: 192.168.1.100, start: 1.5}
""")
    out = tmp_path / "out"
    done = run("emulate", file, "--real", "sweb", "--out", out, "--duration", "6", "--", sys.executable, "-c", SERVE)
    assert done.returncode == 128 + 15, done.stderr           # it was ended
    summary = json.loads((out / "summary.json").read_text())
    published, direct, _ = summary["workloads"]
    assert [(r["status"], r["body"]) for r in published["requests"]] == [(200, "93.184.216.34")] * 3
    assert [(r["status"], r["body"]) for r in direct["requests"]] == [(200, "172.17.0.3")]
    assert not left_behind()


def test_what_the_network_says_reaches_real_programs(file: Path, tmp_path: Path) -> None:
    """ICMP errors about translated packets, the path's MTU, fragments, RST: the kernel takes them for what they are."""
    file.write_text(COMPOSE.replace("  links:\n", "  router: {mtu: 1400}\n  links:\n"))
    world = World(compose.load(file), 1)
    env = world.env

    def echo() -> Process:
        sock = UdpSocket(world.namespace("sapi"), 7)
        while True:
            data, address, port = yield sock.recvfrom()
            sock.sendto(data, address, port)
    env.process(echo())
    with Emulation(world, ["sworker"]) as emulation:
        assert emulation.run(30, [sys.executable, "-c", ASK, str(tmp_path / "said.json")]) == 0
    assert json.loads((tmp_path / "said.json").read_text()) == {
        "closed": ["ECONNREFUSED", 3, 3, "93.184.216.34", 0], "ttl 1": ["EHOSTUNREACH", 11, 0, "172.17.0.1", 0],
        "ttl 2": ["EHOSTUNREACH", 11, 0, "192.168.1.1", 0], "too big": ["EMSGSIZE", 3, 4, "192.168.1.1", 1400], "mtu": 1400,
        "fragments": True, "reset": "ECONNREFUSED", "post": "HTTP/1.1 200 OK\r\nSer"}


def test_it_is_set_up_as_the_simulated_one(file: Path, tmp_path: Path) -> None:
    done = run("emulate", file, "--real", "sweb", "--real", "sapi", "--out", tmp_path / "out", "--", sys.executable, "-c", SACK)
    assert done.stdout.split("\n")[0] == "0 2"                # its sysctls; the network and the way out
    assert "x-simcore.servers.sapi.http has no effect" in done.stderr
    done = run("emulate", file, "--real", "sapi", "--out", tmp_path / "out", "--", "sh", "-c", "exit 7")
    assert done.returncode == 7


def test_terminated_it_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = subprocess.Popen([sys.executable, "-m", "simcore.cli", "emulate", str(file), "--real", "sweb", "--out", str(out)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.stderr is not None
    assert "ip netns exec sweb" in done.stderr.readline()
    assert left_behind() == ["sweb"]
    done.terminate()
    assert "the results are partial" in done.communicate(timeout=20)[1]
    assert done.returncode == 130
    assert json.loads((out / "summary.json").read_text())["emulation"]["machines"] == ["sweb"]
    assert not left_behind()


def test_a_process_keeps_its_own_namespace(file: Path, tmp_path: Path) -> None:
    own = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        while not Path(f"/proc/{own.pid}/exe").resolve().name.startswith("sleep"):
            time.sleep(0.01)
        done = run("emulate", file, "--real", f"sworker={own.pid}", "--out", tmp_path / "out", "--",
                   "nsenter", "-t", str(own.pid), "-n", sys.executable, "-c", GET, "http://93.184.216.34/")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("hello from afar")
        left = subprocess.run(["nsenter", "-t", str(own.pid), "-n", "ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        assert "eth0" not in left
        assert not left_behind()
        assert own.poll() is None
    finally:
        own.kill()
        own.wait()


@pytest.mark.parametrize(("more", "arguments", "message"), [
    ("", ["--real", "nobody"], "--real nobody: expected a service or a server, one of sapi, sweb, sworker"),
    ("", ["--real", "sweb=nginx"], "--real sweb=nginx: expected NAME=PID"),
    ("", ["--real", "host"], "--real host: expected a service or a server, one of sapi, sweb, sworker"),
    ("  workloads: [{kind: ping, from: sweb, to: sapi}]", ["--real", "sweb"], "x-simcore.workloads.0.from: sweb is real"),
    ("  workloads: [{kind: udp, from: sweb, to: sapi, port: 9, rate: 1}]", ["--real", "sapi"], "x-simcore.workloads.0: sapi is real"),
    ("", ["--real", "sweb", "--set", "services.sworker.x-simcore.app={calls: [{to: sweb, port: 80}]}"],
     "services.sworker.x-simcore.app.calls.0: sweb is real, and its programs would not understand"),
    ("", ["--real", "sweb", "--", "no-such-program"], "no-such-program: there is no such command"),
])
def test_what_is_wrong_is_said(file: Path, tmp_path: Path, more: str, arguments: list[str], message: str) -> None:
    file.write_text(COMPOSE + more)
    done = run("emulate", file, "--out", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"simcore: {message}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not left_behind()


def test_a_namespace_of_that_name_is_left_alone(file: Path, tmp_path: Path) -> None:
    subprocess.run(["ip", "netns", "add", "sweb"], check=True)
    try:
        done = run("emulate", file, "--real", "sworker", "--real", "sweb", "--out", tmp_path / "out", "--", "true")
        assert done.returncode == 2
        assert "ip netns add sweb" in done.stderr
        assert "exists" in done.stderr
        assert left_behind() == ["sweb"]
    finally:
        subprocess.run(["ip", "netns", "del", "sweb"], check=True)
