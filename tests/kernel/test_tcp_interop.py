"""simcore's TCP against the kernel's, where root: both ends send through the simulated host, over links that lose and reorder."""
from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from simcore.study import netns
from simcore.study.emulate import Emulation
from simcore.transport import TcpListener, TcpSocket
from tests.kernel.far_server import ADDRESS, far_server
from tests.kernel.rig_up import EMULATE_MISSING

pytestmark = pytest.mark.skipif(bool(EMULATE_MISSING), reason=EMULATE_MISSING)

Process = Any
PORT = 7000
CONNECTIONS = 6
SIZES = [1, 100, 1448, 1449, 5000, 60_000, 300_000]
ENDS = {"net.ipv4.tcp_sack": [0, 1], "net.ipv4.tcp_timestamps": [0, 1], "net.ipv4.tcp_window_scaling": [0, 1],
        "net.ipv4.tcp_ecn": [0, 1, 2]}
HOSTILE = {"loss": [0.005, 0.02], "duplicate": [0.02], "reorder": [0.05], "corrupt": [0.005], "jitter": ["500us"]}
WRONG = ("InErrs", "InCsumErrors", "PAWSEstab", "TCPChallengeACK", "TCPSYNChallenge", "OutRsts", "EstabResets", "TCPAbortOnTimeout")
"""What the kernel counts when the other end does not do as it should."""

KERNEL = r"""
import hashlib, json, random, socket, sys, threading, time
role, address, plans, result = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
def one(sock, plan, out):
    def write():
        r = random.Random(plan["seed"])
        for size, pause in plan["writes"]:
            sock.sendall(r.randbytes(size))
            time.sleep(pause)
        sock.shutdown(socket.SHUT_WR)
    writer = threading.Thread(target=write)
    writer.start()
    data = b""
    while piece := sock.recv(plan["read"]):
        data += piece
        time.sleep(plan["pause"])
    writer.join()
    sock.close()
    out["sha"] = hashlib.sha256(data).hexdigest()
def client(sock, plan, out):
    sock.connect((address, plan["port"]))
    one(sock, plan, out)
def server(sock, plan, out):
    one(sock.accept()[0], plan, out)
outs, threads = [{} for _ in plans], []
for plan, out in zip(plans, outs):
    sock = socket.socket()
    if plan["room"]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, plan["room"])
    if role == "server":
        sock.bind(("", plan["port"]))
        sock.listen()
    threads.append(threading.Thread(target=globals()[role], args=(sock, plan, out)))
    threads[-1].start()
for t in threads:
    t.join()
counted = {}
for name in ("netstat", "snmp"):
    lines = open("/proc/net/" + name).read().splitlines()
    for keys, values in zip(lines[::2], lines[1::2]):
        counted.update((keys.split()[0] + k, int(v)) for k, v in zip(keys.split()[1:], values.split()[1:]))
json.dump({"got": [out.get("sha") for out in outs], "counted": counted}, open(result, "w"))
"""


def plans(r: random.Random, first: int) -> list[dict[str, Any]]:
    """What one end does on each connection."""
    return [{"seed": first + i, "port": PORT + i, "read": r.choice([1000, 65536]), "pause": r.choice([0, 0, 0.001]),
             "room": r.choice([0, 0, 4000, 20000]),
             "writes": [(r.choice(SIZES), r.choice([0, 0, 0.001, 0.05])) for _ in range(r.randrange(6))]}
            for i in range(CONNECTIONS)]


def sent(plan: dict[str, Any]) -> list[bytes]:
    r = random.Random(plan["seed"])
    return [r.randbytes(size) for size, _ in plan["writes"]]


def hashes(of: list[dict[str, Any]]) -> list[str]:
    return [hashlib.sha256(b"".join(sent(plan))).hexdigest() for plan in of]


def impaired(r: random.Random, share: float) -> dict[str, Any]:
    return {key: r.choice(values) for key, values in HOSTILE.items() if r.random() < share}


@pytest.mark.parametrize(("role", "hostile", "seed"), [("client", False, 1), ("server", False, 2), ("client", True, 1), ("server", True, 1),
                                                       ("client", True, 2)])
def test_both_streams_arrive_whole(tmp_path: Path, role: str, hostile: bool, seed: int) -> None:
    r = random.Random(1000 * seed + 100 * hostile + len(role))
    link = {"rate": r.choice(["20Mbit", "100Mbit"]), "latency": r.choice(["1ms", "5ms"]), "queue": r.choice([20, 100]) if hostile else 1000}
    if hostile:
        link |= {**impaired(r, 0.5), "reverse": impaired(r, 0.3)}
    theirs, ours = plans(r, 100), plans(r, 200)
    congestion = r.choice(["cubic", "reno", "bbr"])
    world = far_server(tmp_path / "compose.yaml", "kernel", "ours", link, ports=range(PORT, PORT + CONNECTIONS))
    ns, env, got = world.namespace("ours"), world.env, [b""] * CONNECTIONS

    def write(sock: TcpSocket, plan: dict[str, Any]) -> Process:
        for data, (_, pause) in zip(sent(plan), plan["writes"], strict=True):
            yield sock.send(data)
            yield env.timeout(pause)
        yield sock.close()

    def both(i: int, sock: TcpSocket) -> Process:
        env.process(write(sock, ours[i]))
        while data := (yield sock.recv(ours[i]["read"])):
            got[i] += data
            yield env.timeout(ours[i]["pause"])

    def server(i: int, options: dict[str, Any]) -> Process:
        yield from both(i, (yield TcpListener(ns, PORT + i, congestion=congestion, **options).accept()))

    def client(i: int, options: dict[str, Any]) -> Process:
        sock = TcpSocket(ns, congestion=congestion, **options)
        yield env.timeout(1)                    # until the kernel's end listens
        yield sock.connect("192.168.1.100", PORT + i)
        yield from both(i, sock)
    for i, plan in enumerate(ours):
        env.process((server if role == "client" else client)(i, {"rcvbuf": plan["room"]} if plan["room"] else {}))
    result = tmp_path / "result.json"
    with Emulation(world, ["kernel"]) as emulation:
        for key, values in ENDS.items():
            netns.sysctl("kernel", key, r.choice(values))
        emulation.run(60, [sys.executable, "-c", KERNEL, role, ADDRESS, json.dumps(theirs), str(result)])
    assert [hashlib.sha256(data).hexdigest() for data in got] == hashes(theirs)
    kernel = json.loads(result.read_text())
    assert kernel["got"] == hashes(ours)
    if not hostile:
        assert {key: n for key, n in kernel["counted"].items() if n and key.split(":")[1] in WRONG and key.startswith("Tcp")} == {}
        assert world.host.namespace.netfilter.stats["invalid"] == 0
