"""This machine's kernel on the host's path: packets through namespaces of our own, timed; what they cost apart.

The path is container —veth— [bridge] host —veth— router, in three fresh network namespaces. A packet socket in
the container sends; the kernel handles each packet to its end within the send call, so the time per packet is
the sender's share and the whole path. Path A, where the first veth's other end throws the packet away, is the
sender's share; the rest are differences.
"""
from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from simcore.docker.iptables import Bridge, docker_rules
from simcore.errors import ScenarioError
from simcore.net.cpu import Costs
from simcore.study import netns

RULES_WALKED = 9
"""Rules that an established packet to the outside meets in Docker's rules besides the one of path C."""
PATHS = ("A", "B0", "B1", "C", "F", "D")
WHAT = {"A": "sender, one veth, thrown away", "B0": "routed", "B1": "bridge, routed", "C": "+ conntrack, one rule", "F": "+ masquerade",
        "D": "+ Docker's rules"}

_SENDER = r"""
import socket, struct, sys, time
flows, count, mac = int(sys.argv[1]), int(sys.argv[2]), bytes.fromhex(sys.argv[3])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
s.setsockopt(263, 20, 1)                     # SOL_PACKET, PACKET_QDISC_BYPASS
def frame(i):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, 0, 0, 64, 17, 0, socket.inet_aton("172.17.0.2"),
                     socket.inet_aton("93.184.%d.%d" % (i // 60000 % 256, i // 15360000 % 256 + 1)))
    total = sum(struct.unpack("!10H", ip))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    ip = ip[:10] + struct.pack("!H", ~total & 0xffff) + ip[12:]
    return mac + b"\x02\x00\x00\x00\x00\x02\x08\x00" + ip + struct.pack("!HHHH", 1024 + i % 60000, 9, 26, 0) + bytes(18)
frames = [frame(i) for i in range(flows)]
for f in frames[:200000] if flows < count else ():
    s.send(f)
send = s.send
began = time.perf_counter_ns()
k = 0
for i in range(count // len(frames) + 1):
    for f in frames[:count - k]:
        send(f)
    k = min(k + len(frames), count)
    if k >= count:
        break
print((time.perf_counter_ns() - began) / count)
"""


def available() -> str:
    """Why this cannot run here, empty if it can."""
    return netns.missing("iptables-restore", "sysctl")


def _rules(path: str) -> str:
    if path == "D":
        return docker_rules([Bridge("docker0", "172.17.0.0/16")], [], True).to_iptables_save()
    text = "*filter\n-A FORWARD -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\nCOMMIT\n"
    if path == "F":
        text += "*nat\n-A POSTROUTING -s 172.17.0.0/16 -o eth0 -j MASQUERADE\nCOMMIT\n"
    return text


@contextmanager
def path_of(path: str) -> Iterator[Callable[[int, int], float]]:
    """Build one of `PATHS`; yields a function of (flows, packets) that gives ns per packet."""
    with netns.namespaces(f"sc{os.getpid()}{x}" for x in "chr") as (c, h, r):
        netns.do("ip", "link", "add", "eth0", "netns", c, "address", "02:00:00:00:00:02", "type", "veth", "peer", "name", "v1", "netns", h)
        netns.do("ip", "link", "add", "eth0", "netns", h, "type", "veth", "peer", "name", "eth0", "netns", r)
        for ns, dev in ((c, "eth0"), (h, "v1"), (h, "eth0"), (r, "eth0")):
            netns.sysctl(ns, f"net.ipv6.conf.{dev}.disable_ipv6", 1)
            netns.ip(ns, "link", "set", dev, "up")
        near = "v1"
        if path not in ("A", "B0"):
            netns.ip(h, "link", "add", "docker0", "type", "bridge")
            netns.ip(h, "link", "set", "v1", "master", "docker0")
            near = "docker0"
        mac = "02:42:ac:11:00:01"
        netns.ip(h, "link", "set", near, "address", mac)
        netns.ip(h, "link", "set", near, "up")
        netns.ip(h, "addr", "add", "172.17.0.1/16", "dev", near)
        netns.ip(h, "addr", "add", "192.168.1.100/24", "dev", "eth0")
        netns.ip(h, "route", "add", "default", "via", "192.168.1.1")
        # nobody has this address on the router's side: it drops the frame as another host's
        netns.ip(h, "neigh", "add", "192.168.1.1", "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")
        netns.sysctl(h, "net.ipv4.ip_forward", 1)
        netns.sysctl(h, "net.ipv4.conf.all.rp_filter", 0)
        if path in ("C", "F", "D"):
            netns.do(*netns.inside(h, "iptables-restore"), stdin=_rules(path))
            subprocess.run(netns.inside(h, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0"), check=False, capture_output=True)
        to = "02000000beef" if path == "A" else mac.replace(":", "")

        def measure(flows: int, packets: int) -> float:
            done = subprocess.run(netns.inside(c, sys.executable, "-c", _SENDER, str(flows), str(packets), to),
                                  capture_output=True, text=True, check=False)
            if done.returncode:
                raise ScenarioError(f"the sender of path {path} failed: {done.stderr.strip().splitlines()[-1]}")
            return float(done.stdout)
        yield measure


def measure(paths: tuple[str, ...] = PATHS, packets: int = 100_000, repeats: int = 5,
            progress: Callable[[str], None] = lambda text: None) -> dict[str, float]:
    """Median ns per packet of each path with one flow; of F with 100 000 (`F100k`); of D with all flows new (`new`)."""
    out: dict[str, float] = {}
    for path in paths:
        progress(f"path {path}: {WHAT[path]}")
        with path_of(path) as run:
            out[path] = statistics.median(run(1, packets) for _ in range(repeats))
            if path == "F":
                out["F100k"] = statistics.median(run(100_000, 2 * packets) for _ in range(repeats))
        if path == "D":
            fresh = []
            for _ in range(repeats):
                with path_of(path) as run:
                    fresh.append(run(packets, packets))
            out["new"] = statistics.median(fresh)
    return out


def costs(measured: dict[str, float]) -> Costs:
    """What each step costs, from the differences of paths."""
    def apart(longer: str, shorter: str) -> float:
        return max(0.0, measured[longer] - measured[shorter])
    rule = apart("D", "F") / RULES_WALKED
    return Costs(receive=apart("B0", "A") / 2, route=apart("B0", "A") / 2, bridge=apart("B1", "B0"),
                 conntrack=max(0.0, apart("C", "B1") - rule), nat=apart("F", "C"), rule=rule, new_flow=apart("new", "D"),
                 cold=apart("F100k", "F"))


def describe() -> dict[str, Any]:
    """The machine, for the file."""
    return {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
