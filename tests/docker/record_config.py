"""Draw Compose files, and record what docker-compose (2.40) understands of them, for test_against_docker.py.

    python tests/docker/record_config.py tests/data/docker/config.jsonl

Each line: the files by name, the environment, and what is the same here and there: `summary_of` what `config` prints; null if it
refuses. docker-compose has to be in the PATH; it runs nothing.
"""
from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

CASES = 120
VARIABLES = {"PORT": "8080", "EMPTY": "", "TAG": "1.2", "N": "3"}
DOT_ENV = "PORT=9090\nEMPTY=\nTAG='2.0'\nN=2 # two\nQ=\"a b\"\nexport NET=back\n"
Files = dict[str, str]


def summary_of(config: dict[str, Any]) -> dict[str, Any]:
    """What concerns a network of what `docker-compose config --format json` prints."""
    services, networks = {}, {}
    for name, s in config["services"].items():
        on = {n: (use or {}).get("ipv4_address") for n, use in (s.get("networks") or {}).items()}
        services[name] = {
            "networks": {} if s.get("network_mode") else on,
            "network_mode": s.get("network_mode"),
            "ports": sorted([p.get("host_ip", ""), str(p.get("published", "")), p["target"], p.get("protocol", "tcp")]
                            for p in s.get("ports") or []),
            "depends_on": sorted(s.get("depends_on") or {}),
            "sysctls": {k: float(v) for k, v in (s.get("sysctls") or {}).items()},
            "replicas": s.get("scale", (s.get("deploy") or {}).get("replicas", 1))}
    for name, n in (config.get("networks") or {}).items():
        networks[name] = {"internal": n.get("internal", False), "external": n.get("external", False),
                          "subnets": [part.get("subnet") for part in (n.get("ipam") or {}).get("config") or []]}
    return {"services": services, "networks": networks}


def variable(draw: random.Random, value: str) -> str:
    """A value, or a variable that it is the default of."""
    name = draw.choice([*VARIABLES, "UNSET"])
    return draw.choice([value, value, value, f"${{{name}:-{value}}}", f"${{{name}-{value}}}", f"${{UNSET:-${{UNSET2:-{value}}}}}",
                        f"${{EMPTY:+x}}{value}", f"${{PORT:-{value}}}"])


def port(draw: random.Random) -> Any:
    inside, outside = draw.randrange(1, 60000), draw.randrange(1024, 60000)
    return draw.choice([
        inside, f"{inside}", f"{outside}:{inside}", f"127.0.0.1:{outside}:{inside}", f"{outside}-{outside + 2}:{inside}-{inside + 2}",
        f"{outside}:{inside}/udp", f"{outside}-{outside + 3}:{inside}", f"127.0.0.1::{inside}", {"target": inside},
        {"target": inside, "published": draw.choice([outside, str(outside), f"{outside}-{outside + 2}"]),
         "protocol": draw.choice(["tcp", "udp"]), "mode": "host"},
        {"target": inside, "host_ip": "127.0.0.1", "published": str(outside)}, f"{variable(draw, str(outside))}:{inside}"])


def service(draw: random.Random, others: list[str], networks: list[str]) -> dict[str, Any]:
    def sometimes(share: float) -> bool:
        return draw.random() < share
    s: dict[str, Any] = {"image": draw.choice(["nginx", "redis:7", "${TAG:-postgres}"])}
    if sometimes(0.5):
        s["ports"] = [port(draw) for _ in range(draw.randrange(1, 4))]
    if networks and sometimes(0.5):
        on = draw.sample(networks, draw.randrange(1, len(networks) + 1))
        s["networks"] = draw.choice([on, {n: draw.choice([None, {}, {"aliases": ["a"]}, {"priority": 3}]) for n in on}])
    elif sometimes(0.2):
        s["network_mode"] = draw.choice(["host", "none", "bridge", *(f"service:{name}" for name in others)])
    if others and sometimes(0.4):
        needed = draw.sample(others, draw.randrange(1, len(others) + 1))
        s["depends_on"] = draw.choice([needed, {n: {"condition": "service_started"} for n in needed}])
    if others and sometimes(0.15):
        s["links"] = [draw.choice(others) + draw.choice(["", ":db"])]
    if sometimes(0.2):
        s["sysctls"] = draw.choice([["net.ipv4.tcp_ecn=1"], {"net.ipv4.tcp_ecn": 1}, {"net.core.somaxconn": "${N:-1024}"}])
    if sometimes(0.15):
        s["scale"] = draw.choice([0, 2, 3])
    elif sometimes(0.15):
        s["deploy"] = {"replicas": draw.choice([0, 2, "${N:-4}"])}
    if sometimes(0.2):
        s["profiles"] = draw.sample(["a", "b"], draw.randrange(1, 3))
    return s


def project(draw: random.Random) -> tuple[Files, dict[str, str]]:
    """Files, and the environment."""
    def sometimes(share: float) -> bool:
        return draw.random() < share

    def network(i: int) -> Any:
        return draw.choice([None, {}, {"internal": True}, {"ipam": {"config": [{"subnet": f"10.{draw.randrange(1, 250)}.{i}.0/24"}]}}])
    files: Files = {}
    networks = draw.sample(["front", "back", "default", "mid"], draw.randrange(4))
    services: dict[str, Any] = {}
    for name in draw.sample(["web", "db", "app", "cache", "x-y", "a.b"], draw.randrange(1, 5)):
        services[name] = service(draw, list(services), networks)
    names = list(services)
    base: dict[str, Any] = {"services": services, **({"networks": {n: network(i) for i, n in enumerate(networks)}} if networks else {})}
    if sometimes(0.3):
        services["more"] = {"extends": draw.choice([names[0], {"service": names[0]}]), "ports": [port(draw)],
                            **({"networks": [networks[0]]} if networks and sometimes(0.5) else {})}
    if sometimes(0.25):
        files["other.yaml"] = yaml.safe_dump({"services": {"one": service(draw, [], []), "two": {"extends": "one", "ports": [port(draw)]}}})
        services["far"] = {"extends": {"file": "other.yaml", "service": draw.choice(["one", "two"])}}
    if sometimes(0.3):
        files["sub/part.yaml"] = yaml.safe_dump({"services": {"part": service(draw, [], ["own"])}, "networks": {"own": network(9)}})
        base["include"] = [draw.choice(["sub/part.yaml", {"path": "sub/part.yaml"}, {"path": ["sub/part.yaml"]}])]
        if sometimes(0.6):
            files["sub/.env"] = "N=5\nPORT=7777\n"
    if sometimes(0.4):
        over: dict[str, Any] = {}
        for name in draw.sample(names, draw.randrange(1, len(names) + 1)):
            over[name] = {k: v for k, v in service(draw, [n for n in names if n != name], networks).items() if sometimes(0.6)}
        text = yaml.safe_dump({"services": over}, sort_keys=False)
        files["over.yaml"] = text.replace("ports:", draw.choice(["ports:", "ports: !override", "ports: !reset"]), 1)
    if sometimes(0.6):
        files[".env"] = DOT_ENV
    files["compose.yaml"] = yaml.safe_dump(base, sort_keys=False)
    environment = {k: v for k, v in VARIABLES.items() if sometimes(0.3)}
    if sometimes(0.4):
        environment["COMPOSE_PROFILES"] = draw.choice(["a", "b", "a,b", "*", ""])
    return files, environment


def main() -> None:
    lines = []
    for seed in range(CASES):
        files, environment = project(random.Random(seed))
        with tempfile.TemporaryDirectory() as directory:
            for name, text in files.items():
                Path(directory, name).parent.mkdir(exist_ok=True)
                Path(directory, name).write_text(text)
            given = [word for name in ("compose.yaml", "over.yaml") if name in files for word in ("-f", name)]
            done = subprocess.run(["docker-compose", "-p", "p", *given, "config", "--format", "json"], cwd=directory,
                                  env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True)
        expected = summary_of(json.loads(done.stdout)) if done.returncode == 0 else None
        lines.append(json.dumps({"files": files, "environment": environment, "expected": expected}))
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
