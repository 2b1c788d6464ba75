"""Record who reaches what under a real Docker, for test_against_docker.py: what `simcore reach` asks, asked of it.

Run it as root in namespaces of its own, with dockerd, docker and docker-compose in the PATH:

    unshare --net --mount python tests/docker/record_reach.py tests/data/docker [--dockerd FLAG]... FILE.yaml...

Networks have subnets of their own in these files, and services depend on each other in turn, so that addresses are the same each time.
"""
from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from record import HOST, engine, given, inside, out_of, record_name, started

from simcore.docker.compose import load
from simcore.study.reach import reach

OUTSIDE = "203.0.113.10"                    # `simcore reach`'s server `internet`
BEYOND = ("link set lo up", "addr add 192.168.1.1/24 dev router", "link set router up", f"addr add {OUTSIDE}/32 dev lo")
PATIENCE = 2.5                              # s


def serve(port: int, protocols: list[str]) -> None:
    """Tell everyone who asks at a port as whom he is seen."""
    def tcp() -> None:
        listener = socket.create_server(("0.0.0.0", port), backlog=64)
        while True:
            connection, (address, _) = listener.accept()
            with connection:
                connection.sendall(address.encode())

    def udp() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("0.0.0.0", port))
        while True:
            _, sender = sock.recvfrom(64)
            sock.sendto(sender[0].encode(), sender)
    for protocol in protocols:
        threading.Thread(target={"tcp": tcp, "udp": udp}[protocol]).start()


def ask(address: str, port: int, protocol: str, source: str) -> list[str]:
    """["reached", as whom], or what it comes to instead, as `simcore reach` says it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    try:
        if source:
            sock.bind((source, 0))
        sock.connect((address, port))
        if protocol == "udp":
            sock.send(b"?")
        return ["reached", sock.recv(64).decode()]
    except TimeoutError:
        return ["no answer"]
    except OSError as error:
        return [errno.errorcode[error.errno or 0]]


def answers(file: Path, release: int, flags: list[str], at: Callable[[str], list[str]]) -> list[dict[str, Any]]:
    compose = load(file, settings={"x-simcore.host.docker": release,
                                   "x-simcore.host.userland-proxy": "--userland-proxy=false" not in flags})
    own = {(host, p.protocol): p.port for _, _, p, host in compose.published()}
    questions = [a.as_json() for a in reach(compose)]
    asked = [(q["to"], own[q["port"], q["protocol"]] if q["published"] else q["port"], q["protocol"]) for q in questions]
    me = [sys.executable, __file__]
    servers = [subprocess.Popen([*at(name), *me, "serve", str(port), *(p for n, t, p in sorted(set(asked)) if (n, t) == (name, port))])
               for name, port in sorted({(name, port) for name, port, _ in asked})]
    time.sleep(2)

    def answer(q: dict[str, Any]) -> dict[str, Any]:
        source = OUTSIDE if q["from"] == "internet" else ""
        said = json.loads(out_of(*at(q["from"]), *me, "ask", q["address"], str(q["port"]), q["protocol"], source))
        return {**{key: q[key] for key in ("from", "to", "address", "port", "protocol")}, "outcome": said[0], "seen_as": "".join(said[1:])}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(answer, questions))
    for server in servers:
        server.kill()
    return found


def main() -> None:
    options = given()
    beyond = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
    time.sleep(0.5)
    there = ["nsenter", "-t", str(beyond.pid), "-n"]
    out_of("ip", *f"link add eth0 type veth peer name router netns {beyond.pid}".split())
    for command in HOST:
        out_of("ip", *command.split())
    for command in BEYOND:
        out_of(*there, "ip", *command.split())
    with engine(options.dockerd) as version:
        for file in options.files:
            with started(file) as containers:
                where = {name.removesuffix("-1"): inside(c) for name, c in containers.items()} | {"internet": there, "host": []}
                found = answers(file, int(version.split(".")[0]), options.dockerd, where.__getitem__)
            lines = ",\n  ".join(json.dumps(a) for a in found)
            (options.out / f"{record_name(file, version, options.dockerd)}.answers").write_text(
                f'{{"engine": "{version}", "dockerd": {json.dumps(options.dockerd)}, "file": "{file.name}", "answers": [\n  {lines}]}}\n')
    beyond.kill()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3:])
    elif sys.argv[1] == "ask":
        print(json.dumps(ask(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])))
    else:
        main()
