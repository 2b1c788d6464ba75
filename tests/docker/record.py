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

UPLINK = ("link set lo up", "link add eth0 type veth peer name uplink", "link set uplink up", "addr add 192.168.1.100/24 dev eth0",
          "link set eth0 up", "route add default via 192.168.1.1")


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


def networks() -> dict[str, str]:
    """Interfaces by networks' names, the oldest first."""
    made = [json.loads(out_of("docker", "network", "inspect", i))[0] for i in out_of("docker", "network", "ls", "-q", "--no-trunc").split()]
    return {n["Name"].removeprefix("p_"): n["Options"].get("com.docker.network.bridge.name", f"br-{n['Id'][:12]}")
            for n in sorted(made, key=lambda n: str(n["Created"])) if n["Driver"] == "bridge"}


def containers() -> dict[str, Any]:
    """Addresses by networks, interfaces and way out of each."""
    found = {}
    for i in out_of("docker", "ps", "-q", "--no-trunc").split():
        c = json.loads(out_of("docker", "inspect", i))[0]
        inside = ["nsenter", "-t", str(c["State"]["Pid"]), "-n", "ip"]
        nics = {words[1]: words[3].split("/")[0] for line in out_of(*inside, "-4", "-o", "addr").splitlines() if (words := line.split())}
        routes = out_of(*inside, "route").splitlines()
        found[c["Name"].removeprefix("/p-")] = {
            "networks": {name.removeprefix("p_"): n["IPAddress"] for name, n in c["NetworkSettings"]["Networks"].items()},
            "interfaces": {name: address for name, address in sorted(nics.items()) if name != "lo"},
            "gateway": next((line.split()[2] for line in routes if line.startswith("default")), None)}
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--dockerd", action="append", default=[])
    options = parser.parse_args()
    for command in UPLINK:
        out_of("ip", *command.split())
    with engine(options.dockerd) as version:
        for file in options.files:
            compose = ["docker-compose", "-p", "p", "-f", str(file)]
            for service in json.loads(out_of(*compose, "config", "--format", "json"))["services"].values():
                out_of("docker", "tag", "box", service["image"])
            out_of(*compose, "up", "-d", "--no-build")
            rules = [line for line in out_of("iptables-save").splitlines() if not line.startswith("#")]
            name = "-".join([file.stem, version.split(".")[0], *(flag.strip("-").replace("=", "-") for flag in options.dockerd)])
            (options.out / f"{name}.json").write_text(json.dumps({
                "engine": version, "dockerd": options.dockerd, "file": file.name, "networks": networks(), "containers": containers(),
                "rules": rules}, indent=1) + "\n")
            out_of(*compose, "down", "-t", "0")


if __name__ == "__main__":
    main()
