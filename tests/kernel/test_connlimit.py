"""connlimit counts the connections that are: one story told to this machine's kernel, where root, and to simcore."""
from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest

from simcore.study.topology import Topology
from simcore.transport import TcpListener, TcpSocket
from tests.kernel.rig_up import RIG_MISSING

RULE = "-A INPUT -p tcp -m tcp --syn --dport 80 -m connlimit --connlimit-above 3 -j REJECT --reject-with tcp-reset"
CAME = [True, True, True, False, False,             # three at a time
        True, False,                                # one was closed by both: TIME_WAIT does not count
        False]                                      # one was closed by one side: it still does
KERNEL = """
import socket, subprocess, time
listener = socket.create_server(("127.0.0.1", 80))
listener.settimeout(5)
pairs, came = [], []
def tries(n):
    for _ in range(n):
        s = socket.socket()
        s.settimeout(5)
        try:
            s.connect(("127.0.0.1", 80))
        except ConnectionRefusedError:
            came.append(False)
        else:
            came.append(True)
            pairs.append((s, listener.accept()[0]))
tries(5)
pairs[0][0].close(); time.sleep(0.1); pairs[0][1].close(); time.sleep(0.1)
tries(2)
pairs[1][0].close(); time.sleep(0.1)
tries(1)
print(came)
"""


def test_simcore() -> None:
    net = Topology()
    net.add_host("client", {"eth0": "10.0.0.1/24"})
    net.add_host("server", {"eth0": "10.0.0.2/24"}, rules=f"*filter\n{RULE}\nCOMMIT\n")
    net.add_link("client/eth0", "server/eth0", rate="1Gbit", latency="1ms")
    listener = TcpListener(net.namespace("server"), 80)
    pairs: list[tuple[TcpSocket, TcpSocket]] = []
    came = []

    def tries(n: int) -> Generator[Any, Any, None]:
        for _ in range(n):
            sock = TcpSocket(net.namespace("client"))
            try:
                yield sock.connect("10.0.0.2", 80)
            except ConnectionRefusedError:
                came.append(False)
            else:
                came.append(True)
                pairs.append((sock, (yield listener.accept())))

    def story() -> Generator[Any, Any, None]:
        yield from tries(5)
        for end in pairs[0]:
            end.close()
            yield net.env.timeout(0.1)
        yield from tries(2)
        pairs[1][0].close()
        yield net.env.timeout(0.1)
        yield from tries(1)

    net.env.run(net.env.process(story()))
    assert came == CAME


@pytest.mark.skipif(bool(RIG_MISSING), reason=RIG_MISSING or "-")
def test_the_kernel() -> None:
    setup = f"ip link set lo up && iptables {RULE} && exec {sys.executable} -"
    done = subprocess.run(["unshare", "--net", "sh", "-c", setup], input=KERNEL, text=True, capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == str(CAME)
