"""Record what Docker makes of Compose files, for test_against_docker.py: its rules, and each container's addresses and way out.

Run it as root in namespaces of its own, with dockerd, docker and docker-compose in the PATH:

    unshare --net --mount python tests/docker/record.py tests/data/docker [--dockerd FLAG]... FILE.yaml...

A container's image is whatever its file says, but nothing is fetched: each is a program that sleeps (busybox-static's).
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UPLINK = ("link add eth0 type veth peer name uplink", "link set uplink up")
HOST = ("link set lo up", "addr add 192.168.1.100/24 dev eth0", "link set eth0 up", "route add default via 192.168.1.1")


def out_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def engine(flags: list[str]) -> Iterator[str]:
    """A dockerd with the image `box`; its version."""
    with tempfile.TemporaryDirectory() as work:
        os.environ["DOCKER_HOST"] = f"unix://{work}/socket"
        daemon = subprocess.Popen(["dockerd", "--data-root", f"{work}/data", "--exec-root", f"{work}/run", "--pidfile", f"{work}/pid",
                                   "--host", os.environ["DOCKER_HOST"], "--storage-driver", "vfs", *flags], stderr=subprocess.DEVNULL)
        try:
            for _ in range(120):
                if subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
                    break
                time.sleep(0.25)
            else:
                sys.exit("dockerd does not answer")
            box = Path(work, "box")
            (box / "bin").mkdir(parents=True)
            (box / "bin/sleep").write_bytes(Path("/bin/busybox").read_bytes())
            (box / "bin/sleep").chmod(0o755)
            out_of("tar", "-cf", f"{work}/box.tar", "-C", str(box), ".")
            out_of("docker", "import", "-c", 'CMD ["/bin/sleep", "1000"]', f"{work}/box.tar", "box")
            yield out_of("docker", "version", "-f", "{{.Server.Version}}").split("+")[0]
        finally:
            daemon.terminate()
            daemon.wait(30)


@contextmanager
def started(file: Path) -> Iterator[dict[str, Any]]:
    """A Compose file's containers, as `docker inspect` has them, by name."""
    compose = ["docker-compose", "-p", "p", "-f", str(file)]
    for service in json.loads(out_of(*compose, "config", "--format", "json"))["services"].values():
        out_of("docker", "tag", "box", service["image"])
    out_of(*compose, "up", "-d", "--no-build")
    found = [json.loads(out_of("docker", "inspect", i))[0] for i in out_of("docker", "ps", "-q", "--no-trunc").split()]
    yield {c["Name"].removeprefix("/p-"): c for c in found}
    out_of(*compose, "down", "-t", "0")


def inside(container: dict[str, Any]) -> list[str]:
    """What runs a command in its network namespace."""
    return ["nsenter", "-t", str(container["State"]["Pid"]), "-n"]


def given() -> argparse.Namespace:
    """`out`, `files`, and what is said to `dockerd`."""
    parser = argparse.ArgumentParser(description="Record what Docker does.")
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--dockerd", action="append", default=[])
    return parser.parse_args()


def record_name(file: Path, version: str, flags: list[str]) -> str:
    return "-".join([file.stem, version.split(".")[0], *(flag.strip("-").replace("=", "-") for flag in flags)])


def networks() -> dict[str, str]:
    """Interfaces by networks' names, the oldest first."""
    made = [json.loads(out_of("docker", "network", "inspect", i))[0] for i in out_of("docker", "network", "ls", "-q", "--no-trunc").split()]
    return {n["Name"].removeprefix("p_"): n["Options"].get("com.docker.network.bridge.name", f"br-{n['Id'][:12]}")
            for n in sorted(made, key=lambda n: str(n["Created"])) if n["Driver"] == "bridge"}


def attached(container: dict[str, Any]) -> dict[str, Any]:
    """Its addresses by networks, its interfaces and its way out."""
    ip = [*inside(container), "ip"]
    nics = {words[1]: words[3].split("/")[0] for line in out_of(*ip, "-4", "-o", "addr").splitlines() if (words := line.split())}
    routes = out_of(*ip, "route").splitlines()
    return {"networks": {name.removeprefix("p_"): n["IPAddress"] for name, n in container["NetworkSettings"]["Networks"].items()},
            "macs": {name.removeprefix("p_"): n["MacAddress"] for name, n in container["NetworkSettings"]["Networks"].items()},
            "interfaces": {name: address for name, address in sorted(nics.items()) if name != "lo"},
            "gateway": next((line.split()[2] for line in routes if line.startswith("default")), None)}


def main() -> None:
    options = given()
    for command in (*UPLINK, *HOST):
        out_of("ip", *command.split())
    with engine(options.dockerd) as version:
        for file in options.files:
            with started(file) as containers:
                rules = [line for line in out_of("iptables-save").splitlines() if not line.startswith("#")]
                (options.out / f"{record_name(file, version, options.dockerd)}.json").write_text(json.dumps({
                    "engine": version, "dockerd": options.dockerd, "file": file.name, "networks": networks(),
                    "containers": {name: attached(c) for name, c in sorted(containers.items())}, "rules": rules}, indent=1) + "\n")


if __name__ == "__main__":
    main()
