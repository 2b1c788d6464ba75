"""The command line as others call it: outputs, files, and one clear line for what is wrong."""
from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from natfast.capture import read
from simcore.docker.compose import load
from simcore.errors import ScenarioError
from simcore.net import presets
from simcore.net.cpu import Costs
from simcore.study import kernel

JOURNEY = Path(__file__).parent.parent.parent / "examples" / "journey.yaml"


def run(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "simcore.cli", *map(str, args)], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("journey")
    done = run("run", JOURNEY, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_the_journey_is_explained_hop_by_hop(journey: tuple[Path, str]) -> None:
    _, text = journey
    for expected in ("172.17.0.2:12345 > 93.184.216.34:80", "192.168.1.100:12345 > 93.184.216.34:80", "POSTROUTING: masquerade",
                     "PREROUTING: ESTABLISHED, reverse mapping", "PREROUTING: NEW, published port (DNAT)",
                     "bridge FDB: port veth-container2",
                     "host/docker0", "router/eth1", "web/eth0", "TTL 64 -> 63", "TTL 63 -> 62", "TIME_WAIT src=172.17.0.2",
                     "throughput", "latency"):
        assert expected in text.replace("\n", " ") or expected in " ".join(text.split()), expected


def test_results_are_left_in_out(journey: tuple[Path, str]) -> None:
    out, _ = journey
    summary = json.loads((out / "summary.json").read_text())
    requests = [r for w in summary["workloads"] if w["kind"] == "http" for r in w["requests"]]
    assert [r["status"] for r in requests] == [200, 200]
    assert requests[0]["source_port"] == 12345
    assert requests[1]["body"] == "hello from container1\n"
    rtts = [r for w in summary["workloads"] if w["kind"] == "ping" for r in w["rtt_s"]]
    assert len(rtts) == 5
    assert all(rtts)
    assert summary["throughput_bps"] > 0
    assert any("TIME_WAIT" in line for line in summary["conntrack"])
    assert not list(out.glob(".*")), "no temporary file is left"


def test_captured_frames_tell_the_journey(journey: tuple[Path, str]) -> None:
    out, _ = journey
    syn = [p for p in read(out / "packets.pcapng") if p.frame[23:24] == b"\6" and p.frame[47] == 2 and p.frame[36:38] == b"\0\x50"
           and p.time < 1]
    assert [p.interface for p in syn] == ["container1/eth0", "host/veth-container1", "host/docker0", "host/eth0", "router/eth0",
                                          "router/eth1", "web/eth0"]
    assert [p.frame[22] for p in syn] == [64, 64, 64, 63, 63, 62, 62]
    assert syn[0].frame[26:30] == bytes([172, 17, 0, 2])
    assert all(p.frame[26:30] == bytes([192, 168, 1, 100]) for p in syn[3:])
    assert syn[3].frame[:12] == bytes.fromhex("0200c0a801010200c0a80164")
    bridged = [p for p in read(out / "packets.pcapng") if 4 <= p.time < 5 and p.frame[12:14] == b"\x08\x00"
               and p.frame[30:34] == bytes([172, 17, 0, 3])]
    assert {p.frame[22] for p in bridged} == {64}
    assert {p.frame[:12] for p in bridged} == {bytes.fromhex("0242ac1100030242ac110002")}
    assert "host/docker0" not in {p.interface for p in bridged}


def test_json_seed_engine_pcap(tmp_path: Path) -> None:
    a = run("run", JOURNEY, "--json", "--seed", "3", "--duration", "0.5", "--out", tmp_path, "--pcap", tmp_path / "x.pcapng")
    b = run("run", JOURNEY, "--json", "--seed", "3", "--duration", "0.5", "--out", tmp_path / "b", "--engine", "simpy")
    one, two = json.loads(a.stdout), json.loads(b.stdout)
    assert (one["seed"], one["simulated_s"], one.pop("engine"), two.pop("engine")) == (3, 0.5, "compiled", "simpy")
    assert one == two
    assert (tmp_path / "x.pcapng").read_bytes() == (tmp_path / "b" / "packets.pcapng").read_bytes()


def test_an_address_changed_in_the_file_changes_the_run(tmp_path: Path) -> None:
    text = JOURNEY.read_text().replace("93.184.216.34", "198.51.100.80").replace("192.168.1.", "10.1.1.")
    (tmp_path / "compose.yaml").write_text(text)
    done = run("run", tmp_path / "compose.yaml", "--json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert any("src=198.51.100.80 dst=10.1.1.100" in line for line in json.loads(done.stdout)["conntrack"])


SERVICE = "services:\n  a: {}\n  b: {}\n"
MISTAKES = {
    "unknown key of a service": (SERVICE + "  c: {prots: []}\n", "services.c.prots: unknown key"),
    "unknown top-level key": (SERVICE + "servces: {}\n", "servces: unknown key"),
    "unknown network": ("services:\n  a: {networks: [front]}\nnetworks: {back: {}}\n",
                        "services.a.networks: network 'front' is not defined; expected one of back"),
    "bad CIDR": ("services: {a: {networks: [n]}}\nnetworks: {n: {ipam: {config: [{subnet: 172.30.0.1/16}]}}}\n",
                 "networks.n.ipam.config.0.subnet: '172.30.0.1/16' is not a subnet in CIDR notation"),
    "overlapping subnets": ("services: {a: {networks: [n, m]}}\nnetworks: {n: {ipam: {config: [{subnet: 10.0.0.0/8}]}}, "
                            "m: {ipam: {config: [{subnet: 10.1.0.0/16}]}}}\n",
                            "networks.m.ipam.config.0.subnet: subnet 10.1.0.0/16 overlaps 10.0.0.0/8 of n"),
    "port out of range": ("services: {a: {ports: [\"99999:80\"]}}\n", "services.a.ports: '99999:80': port 99999 is out of range 1-65535"),
    "port published twice": ("services: {a: {ports: [\"80:80\"]}, b: {ports: [\"80:81\"]}}\n",
                             "services.b.ports.0: port 80/tcp is already published by a"),
    "unknown service in a workload": (SERVICE + "x-simcore: {workloads: [{kind: ping, from: z, to: a}]}\n",
                                      "x-simcore.workloads.0.from: 'z' is neither a service nor a server"),
    "unknown target": (SERVICE + "x-simcore: {workloads: [{kind: ping, from: a, to: nowhere}]}\n",
                       "x-simcore.workloads.0.to: 'nowhere' is neither a service, a server nor an address"),
    "unparsable YAML": ("services: {a: [\n", "line 2: not YAML"),
    "bad rate": (SERVICE + "x-simcore: {links: {host: {rate: fast}}}\n", "x-simcore.links.host.rate: 'fast' is not a rate"),
    "bad address": (SERVICE + "x-simcore: {host: {address: 192.168.1.300/24}}\n",
                    "x-simcore.host.address: '192.168.1.300/24' is not an address in CIDR notation"),
    "no MAC of an interface": ("services: {a: {mac_address: 'ff:42:ac:11:00:02'}}\n",
                               "services.a.mac_address: 'ff:42:ac:11:00:02' is not the MAC address of an interface, as 02:42:ac:11:00:02"),
    "network without IPv4": ("services: {a: {networks: [n]}}\nnetworks: {n: {enable_ipv4: false}}\n",
                             "networks.n.enable_ipv4: there is IPv4 only, so a network cannot be without it"),
    "address outside its network": ("services: {a: {networks: {n: {ipv4_address: 10.9.9.9}}}}\nnetworks: {n: {}}\n",
                                    "services.a.networks.n.ipv4_address: address 10.9.9.9 is not a host address of 172.18.0.0/16"),
    "two at a port": ("services: {a: {x-simcore: {http: {port: 80}}}, b: {network_mode: \"service:a\", x-simcore: {http: {port: 80}}}}\n",
                      "services.b.x-simcore.http.port: something else listens at port 80 of a already"),
    "a workload at a server's port": (SERVICE + "x-simcore: {servers: {s: {address: 10.9.9.9, http: {port: 80}}}, workloads: "
                                      "[{kind: bulk, from: a, to: s, port: 80, size: 1k}]}\n",
                                      "x-simcore.workloads.0: something else listens at port 80 of s already"),
    "the host at a published port": ("services: {a: {ports: [\"80:80\"]}, b: {network_mode: host, x-simcore: {http: {port: 80}}}}\n",
                                     "services: port 80/tcp of the host is published, but something listens there already"),
    "no services": ("services: {}\n", "services: expected at least one service"),
    "not a mapping": ("- 1\n", "expected a mapping"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_one_line_for_each_mistake(name: str, tmp_path: Path) -> None:
    text, message = MISTAKES[name]
    file = tmp_path / "compose.yaml"
    file.write_text(text)
    done = run("run", file, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith(f"simcore: {file}: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_missing_files(tmp_path: Path) -> None:
    for args in (["run", tmp_path / "no.yaml"], ["run", tmp_path / "no.py"],
                 ["replay", "--box", tmp_path / "no.json", tmp_path / "a.jsonl"]):
        done = run(*args)
        assert done.returncode == 2
        assert "No such file or directory" in done.stderr
        assert done.stderr.count("\n") == 1


def test_replay(data: Path, tmp_path: Path) -> None:
    oracle = data / "oracle"
    good = oracle / "named" / "seed-journey-http.jsonl"
    done = run("replay", "--box", oracle / "box.json", "--conntrack", good, oracle / "named" / "udp-exchange.jsonl")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "15/15 steps identical"
    bad = tmp_path / "bad.jsonl"
    bad.write_text(good.read_text().replace("0200c0a80101", "0200c0a80102", 1))
    done = run("replay", "--box", oracle / "box.json", bad)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "9/10 steps identical"
    bad.write_text("{\n")
    done = run("replay", "--box", oracle / "box.json", bad)
    assert done.returncode == 2
    assert f"{bad}: line 1: not a step of a case" in done.stderr


def test_bench_keys() -> None:
    done = run("bench", "wan-udp", "--containers", "2", "--duration", "0.2", "--json")
    row = json.loads(done.stdout)
    assert {"wall_s", "packets", "dropped", "ns_per_packet", "mean_wait_us", "delivered_mbps"} <= row.keys()
    assert row["packets"] > 3000
    done = run("bench", "wan-tcp", "--containers", "2", "--duration", "0.5", "--json")
    assert json.loads(done.stdout)["delivered_mbps"] > 10


def test_python_scenario(tmp_path: Path) -> None:
    file = tmp_path / "scenario.py"
    file.write_text("from simcore.docker.compose import load\nfrom simcore.study.scenario import World\n"
                    f"def build(seed, engine):\n    return World(load({str(JOURNEY)!r}), seed, engine)\n")
    done = run("run", file, "--json", "--duration", "0.3", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    file.write_text("x = 1\n")
    done = run("run", file, "--out", tmp_path / "out2")
    assert (done.returncode, done.stderr) == (2, f"simcore: {file}: expected a function build(seed, engine) that returns a World\n")


def test_calibrate_writes_costs_that_a_scenario_can_use(tmp_path: Path) -> None:
    if kernel.available():
        pytest.skip(f"calibrate {kernel.available()}")
    done = subprocess.run([sys.executable, "-m", "simcore.cli", "calibrate", "--out", "host.json", "--packets", "2000", "--repeats", "1",
                           "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert set(result["measured_ns"]) == {"A", "B0", "B1", "C", "F", "F100k", "D", "new"}
    assert all(v >= 0 for v in result["costs"].values())
    assert presets.load(str(tmp_path / "host.json")) == kernel.costs(result["measured_ns"])
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not any(line.startswith("sc") and line.split()[0][2:-1].isdigit() for line in left.splitlines())


def test_costs_are_the_differences_of_paths() -> None:
    """KERNEL.md's measurements give the preset, but for what it splits by judgement."""
    costs = kernel.costs({"A": 436, "B0": 672, "B1": 787, "C": 955, "F": 1019, "F100k": 1364, "D": 1112, "new": 2112})
    rule = 93 / kernel.RULES_WALKED
    assert costs == Costs(receive=118, route=118, bridge=115, conntrack=168 - rule, nat=64, rule=rule, new_flow=1000, cold=345)


def test_overrides_are_merged_as_compose_merges_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("services: {web: {}}\nx-simcore: {duration: 1s, host: {sysctls: {net.ipv4.icmp_ratelimit: 5}}}\n")
    (tmp_path / "b.yaml").write_text("services: {db: {}}\nx-simcore: {duration: 2s, host: {userland-proxy: false}}\n")
    compose = load(tmp_path / "a.yaml", [tmp_path / "b.yaml"])
    assert list(compose.services) == ["web", "db"]
    assert compose.x.duration == 2
    assert (compose.x.host.sysctls, compose.x.host.userland_proxy) == ({"net.ipv4.icmp_ratelimit": 5}, False)
    (tmp_path / "c.yaml").write_text("x-simcore: {links: {host: {qdisc: nosuch}}}\n")
    with pytest.raises(ScenarioError, match=r"c.yaml: x-simcore.links.host: kind: 'nosuch' is no qdisc"):
        load(tmp_path / "a.yaml", [tmp_path / "c.yaml"])
    for lines, message in ((["-A NOSUCH -j DROP"], "no chain"), (["DROP"], "expected a rule"), (["-t nosuch -A X"], "no table"),
                           (["-A FORWARD -m nosuch"], "nosuch")):
        (tmp_path / "d.yaml").write_text(json.dumps({"x-simcore": {"host": {"iptables": lines}}}))
        with pytest.raises(ScenarioError, match=f"d.yaml: x-simcore.host.iptables: .*{message}"):
            load(tmp_path / "a.yaml", [tmp_path / "d.yaml"])


def test_workloads_last_as_long_as_the_run(tmp_path: Path) -> None:
    """--duration is the file's, also for what goes on until its end."""
    file = tmp_path / "f.yaml"
    file.write_text("services: {a: }\nx-simcore: {servers: {far: {address: 93.184.216.34}}, workloads: "
                    "[{kind: udp, from: a, to: far, port: 9, rate: 100, pattern: constant}]}\n")
    sent = [json.loads(run("run", file, "--json", "--no-capture", "--out", tmp_path, *args).stdout)["workloads"][0]["sent"]
            for args in ((), ("--duration", "7"), ("--set", "duration=4s"))]
    assert [round(n, -1) for n in sent] == [100, 700, 400]
