"""The problems in examples/problems: each shows its effect, and its cure cures."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from natfast import capture
from simcore.docker.compose import load
from simcore.errors import ScenarioError
from simcore.study.scenario import World
from simcore.study.source import make_world, source


def run(root: Path, name: str, cured: bool, duration: float | None = None, pcap: Path | None = None) -> dict[str, Any]:
    directory = root / "examples" / "problems"
    world = World(load(directory / f"{name}.yaml", [directory / f"{name}.cure.yaml"] if cured else []))
    if pcap is not None:
        world.capture(pcap)
    world.run(duration)
    return world.summary()


def test_bufferbloat(root: Path) -> None:
    sick, well = run(root, "bufferbloat", False), run(root, "bufferbloat", True)
    idle = sick["workloads"][1]["rtt_s"][1]
    assert max(r or 9.0 for r in sick["workloads"][1]["rtt_s"][3:]) > 10 * idle
    assert max(well["workloads"][1]["rtt_s"][3:]) < 2 * idle + 0.01
    sent = [s["links"]["host/eth0"]["utilisation"] for s in (sick, well)]
    assert sent[1] > 0.97 * sent[0]                 # and it costs no throughput


def test_mtu_black_hole(root: Path) -> None:
    sick, well = run(root, "mtu-black-hole", False), run(root, "mtu-black-hole", True)
    assert sick["workloads"][0]["requests"][0]["status"] == 200
    assert "total_time_s" not in sick["workloads"][1]
    assert sick["drops"]["router"]["fragmentation needed and DF set"] > 3
    assert well["workloads"][1]["total_time_s"] < 1
    assert well["workloads"][1]["retransmits"] == 0


def test_snat_port_exhaustion(root: Path) -> None:
    sick, well = run(root, "snat-exhaustion", False), run(root, "snat-exhaustion", True)
    assert len([e for e in sick["conntrack"] if "dport=443" in e]) == 64
    assert sick["drops"]["host"]["NAT: no free source port"] > 100
    assert sick["workloads"][0]["unanswered"] > 100
    assert "host" not in well["drops"]
    assert well["workloads"][0]["requests_done"] > 2 * sick["workloads"][0]["requests_done"]


def test_small_window(root: Path) -> None:
    """A window of two thirds of the memory each round trip; without that limit the link is full, and no one speaks of windows."""
    sick, well = run(root, "small-window", False), run(root, "small-window", True)
    rtt = sick["workloads"][0]["srtt_s"]
    assert sick["workloads"][0]["goodput_bps"] == pytest.approx(500_000 * 170 / 256 * 8 / rtt, rel=0.06)
    assert well["links"]["router/eth1"]["utilisation"] > 0.9
    assert not {"receive-window", "send-buffer"} & {f["what"] for f in well["findings"]}


def test_rate_limit(root: Path) -> None:
    """The office's forty want 40 connections a second of 20; each SYN over that comes again after a second or more. Nobody else waits."""
    sick, well = run(root, "rate-limit", False), run(root, "rate-limit", True)
    rates = [w["requests_done"] / 20 for w in (sick["workloads"][0], well["workloads"][0])]
    assert rates[0] == pytest.approx(20 + 40 / 20, rel=0.1)
    assert rates[1] == pytest.approx(40, rel=0.15)
    assert sick["workloads"][0]["response_s"]["p99"] > 1 > 0.1 > well["workloads"][0]["response_s"]["p99"]
    assert sick["workloads"][1] == well["workloads"][1]
    assert not well["stopped_by"]


def test_connection_pool(root: Path) -> None:
    """Four connections of 10 ms a call carry 400 calls a second, whatever workers there are on either side."""
    sick, well = run(root, "connection-pool", False), run(root, "connection-pool", True)
    assert sick["apps"]["db:5432"]["requests_per_s"] == pytest.approx(4 / 0.01, rel=0.05)
    assert sick["apps"]["db:5432"]["utilisation"] < 0.2
    assert well["workloads"][0]["response_s"]["p99"] < 0.5 * sick["workloads"][0]["response_s"]["mean"]
    assert not well["findings"]


def test_retry_storm(root: Path) -> None:
    """A pause of one second is over after one second, if nobody asks again for what he has given up; else it never is."""
    sick, well = run(root, "retry-storm", False), run(root, "retry-storm", True)
    assert sick["workloads"][0]["requests_done"] < 250 * 3 < 250 * 27 < well["workloads"][0]["requests_done"]
    assert well["workloads"][0]["failed"] == 0
    before = World(load(root / "examples" / "problems" / "retry-storm.yaml", settings={"events": []}))
    before.run()
    assert before.summary()["workloads"][0]["failed"] == 0          # it carries the load, and would for ever
    calls = sick["apps"]["web:8000"]["calls"]["db:5432"]
    assert calls["retried"] == pytest.approx(3 * calls["failed"], rel=0.05)
    assert sick["conclusion"] == "What limits: the retries of web:8000."

    def paused(backoff: Any) -> int:
        call = {"to": "db", "port": 5432, "timeout": "100ms", "retries": 3, "backoff": backoff}
        world = World(load(root / "examples" / "problems" / "retry-storm.yaml", settings={"services.web.x-simcore.app.calls": [call]}))
        world.run()
        return int(world.summary()["workloads"][0]["requests_done"])
    # pauses spread what is made again; short ones only put it off
    assert paused("100ms") < 250 * 3 < 250 * 27 < paused({"uniform": ["500ms", "1500ms"]})


def test_backlog_full(root: Path) -> None:
    """A SYN that finds the backlog full is dropped without a word: the client's timer of a second decides."""
    sick, well = run(root, "backlog-full", False), run(root, "backlog-full", True)
    assert sick["apps"]["web:9000"]["overflows"] > 500
    assert sick["workloads"][0]["response_s"]["p90"] > 1 > well["workloads"][0]["response_s"]["max"]
    assert sick["workloads"][0]["failed"] == well["workloads"][0]["failed"] == well["apps"]["web:9000"]["overflows"] == 0


def test_time_wait_ports_are_taken_again(root: Path) -> None:
    summary = run(root, "time-wait-reuse", False)
    w = summary["workloads"][0]
    assert w["requests_done"] > 20 * 16
    assert w["failed"] == 0
    assert len(summary["conntrack"]) <= 16


def test_a_short_run_knows_when_source_ports_will_run_out(tmp_path: Path) -> None:
    """64 512 ports, each kept for TIME_WAIT's two minutes: 538 new connections a second to one place, of all."""
    path = tmp_path / "f.yaml"

    def run_at(rate: float, rule: str = "") -> dict[str, Any]:
        path.write_text(json.dumps({"services": {"a": {}, "b": {}, "c": {}}, "x-simcore": {
            "duration": 6, "servers": {"api": {"address": "93.184.216.34"}, "other": {"address": "198.51.100.7"}},
            "host": {"sysctls": {"net.netfilter.nf_conntrack_max": 1_000_000}, "iptables": [rule] if rule else []},
            "links": {"server": {"rate": "1Gbit", "latency": "1ms"}},
            "workloads": [{"kind": "load", "from": who, "to": to, "port": 443, "users": int(rate / 6), "keep-alive": False,
                           "think": {"exponential": "495ms"}, "response-size": 100}
                          for who in "abc" for to in ("api", "other")[:1 + (who == "a")]]}}))
        world = World(load(path))
        world.run()
        return world.summary()
    calm, busy = run_at(300), run_at(900)
    assert calm["source_ports"]["destination"] == "93.184.216.34:443"
    assert calm["source_ports"]["max"] == busy["source_ports"]["max"] == 65536 - 1024
    made = sum(w["requests_done"] for w in busy["workloads"] if w["to"] == "api")
    assert busy["source_ports"]["used"] == pytest.approx(made, rel=0.05)
    assert busy["source_ports"]["expected"] == pytest.approx(made / 6 * 120, rel=0.05)
    assert [f["what"] for f in calm["findings"]] == []
    assert calm["conclusion"].startswith("What would be short first: source ports towards 93.184.216.34:443, ")
    assert [f["what"] for f in busy["findings"]] == ["ports-filling"]
    assert busy["conclusion"] == "What limits: the source ports of host."
    few = run_at(30, "-t nat -I POSTROUTING -s 172.17.0.0/16 -p tcp -j MASQUERADE --to-ports 40000-40999")
    assert few["source_ports"]["max"] == 1000
    assert [f["what"] for f in few["findings"]] == ["ports-filling"]


def test_neighbour_table_full(root: Path) -> None:
    sick, well = run(root, "neighbour-overflow", False), run(root, "neighbour-overflow", True)
    assert sick["neighbours"] == {"entries": 1024, "peak": 1024, "max": 1024}
    cut_off = {name for name, reasons in sick["drops"].items() if "neighbour table overflow" in reasons} - {"host"}
    assert 600 - 1024 // 2 <= len(cut_off) <= 100
    assert sick["workloads"][0]["loss"] == pytest.approx(len(cut_off) / 600, rel=0.3)
    assert well["neighbours"]["entries"] == 2 * 600 + 1         # and the router
    assert well["drops"] == {}
    assert well["findings"] == []


def test_conntrack_table_full(root: Path) -> None:
    sick, well = run(root, "conntrack-full", False), run(root, "conntrack-full", True)
    assert sick["conntrack_stats"]["drop"] > 50
    assert len(sick["conntrack"]) <= 64
    assert sick["workloads"][0]["unanswered"] > 100
    assert well["conntrack_stats"]["drop"] == 0
    assert well["workloads"][0]["requests_done"] > 2 * sick["workloads"][0]["requests_done"]


def test_idle_connection_is_forgotten(root: Path, tmp_path: Path) -> None:
    sick = run(root, "idle-timeout", False, pcap=tmp_path / "a.pcapng")
    assert sick["workloads"][0]["requests_done"] == 0
    resets = [r for r in capture.read(tmp_path / "a.pcapng")
              if r.interface == "host/eth0" and r.frame[23] == 6 and r.frame[47] & 4 and r.frame[26:30] == bytes([192, 168, 1, 100])]
    assert resets
    well = run(root, "idle-timeout", True)
    assert well["workloads"][0]["requests_done"] == 2
    # keepalive in the application does as well
    compose = load(root / "examples" / "problems" / "idle-timeout.yaml")
    compose.x.workloads[0].tcp_keepalive = 30.0
    world = World(compose)
    world.run()
    assert world.summary()["workloads"][0]["requests_done"] == 2


def test_hairpin_and_userland_proxy(root: Path) -> None:
    proxy, hairpin = run(root, "hairpin", False, 1.0), run(root, "hairpin", True, 1.0)
    for summary in (proxy, hairpin):
        assert summary["workloads"][0]["requests"][0]["body_bytes"] == 102400
    assert sum("dport=80 " in e for e in proxy["conntrack"]) == 1       # the proxy's own connection to the container
    assert not any("dport=80 " in e.split("src=")[1] for e in hairpin["conntrack"])
    assert len(hairpin["conntrack"]) == 1


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_invalid_packet_resets_a_healthy_connection(root: Path, engine: str) -> None:
    got = {}
    for cure in (False, True):
        world = make_world(source(root / "examples" / "problems" / "invalid_reset.py", settings={"cure": cure}), engine=engine)
        world.run()
        got[cure] = world.summary()["workloads"][0].get("requests", [])
    assert got[True][0]["body_bytes"] == 5_000_000
    assert not got[False] or got[False][0]["body_bytes"] < 5_000_000


def test_stale_udp_entry_after_a_move(root: Path) -> None:
    sick, well = run(root, "stale-udp", False), run(root, "stale-udp", True)
    assert sick["workloads"][0]["received_by"]["new"] == 0
    assert sick["drops"]["host"]["FORWARD"] > 250
    assert "src=172.17.0.2 " in sick["conntrack"][0]        # the old container's, kept alive by the client
    assert well["workloads"][0]["received_by"]["new"] > 250
    assert well["drops"]["host"]["FORWARD"] < 6
    assert "src=172.17.0.3 " in well["conntrack"][0]


def test_a_clash_of_ports_is_a_lookup_of_five_seconds(root: Path) -> None:
    sick, well = run(root, "dns-clash", False), run(root, "dns-clash", True)
    times = sorted(w["lookups"][0]["total_time"] for w in sick["workloads"])
    assert times[0] < 0.03
    assert 5.0 < times[-1] < 5.03
    assert sick["conntrack_stats"]["insert_failed"] - sick["conntrack_stats"]["clash_resolve"] == sick["conntrack_stats"]["drop"] > 0
    assert sick["drops"]["host"]["conntrack: insert failed"] == sick["conntrack_stats"]["drop"]
    # A and AAAA of one socket clash, too, and this kernel resolves it
    assert sick["conntrack_stats"]["clash_resolve"] > 0
    assert all(w["lookups"][0]["total_time"] < 0.03 for w in well["workloads"])
    assert well["conntrack_stats"]["drop"] == 0


@pytest.mark.parametrize(("event", "message"), [
    ({"move": {"port": 5353, "protocol": "udp", "to": "nobody"}}, "events.0.move.to: 'nobody' is no service"),
    ({"move": {"port": 9, "protocol": "udp", "to": "new"}}, "events.0.move.port: no service publishes 9/udp"),
    ({"link": "host/eth0"}, "an event needs one of"),
    ({"iptables": ["-A FORWARD -j DROP"], "link": "host/eth0"}, "'link' comes with 'set' or 'state'")])
def test_wrong_events_are_named(tmp_path: Path, event: dict[str, Any], message: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps({"services": {"old": {"ports": ["5353:53/udp", "80:80"]}, "new": {}},
                                "x-simcore": {"events": [{"at": 1, **event}]}}))
    with pytest.raises(ScenarioError, match=re.escape(message)):
        load(path)


def test_rules_and_settings_of_a_file(tmp_path: Path) -> None:
    """A rule that comes at half time stops a flow; a service's sysctls are its namespace's, and unknown ones are named."""
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps({
        "services": {"a": {"sysctls": ["net.ipv4.ip_default_ttl=9", "net.core.somaxconn=1024"]}},
        "x-simcore": {"duration": "10s", "servers": {"web": {"address": "93.184.216.34"}},
                      "workloads": [{"kind": "udp", "from": "a", "to": "web", "port": 9, "rate": 100, "stop": "9s"}],
                      "events": [{"at": "5s", "iptables": ["-I DOCKER-USER -p udp -j DROP"]}]}}))
    world = World(load(path))
    assert world.notes == ["services.a.sysctls: net.core.somaxconn has no effect here"]
    assert world.namespace("a").sysctl["net.ipv4.ip_default_ttl"] == 9
    world.run(None)
    w = world.summary()["workloads"][0]
    assert 400 < w["received"] < 600 < 800 < w["sent"]


@pytest.mark.parametrize(("name", "what", "place", "text"), [
    ("bufferbloat", "queue-overflow", "host/eth0", "waited 633.6 ms on average"),
    ("mtu-black-hole", "dropped", "router", "too long for the next link"),
    ("snat-exhaustion", "ports-full", "host", "found no source port"),
    ("conntrack-full", "conntrack-full", "host", "the conntrack table was full (64 entries)"),
    ("neighbour-overflow", "neighbours-full", "host", "the neighbour table was full: 1024 entries"),
    ("dns-clash", "dropped", "host", "another one took their tuple"),
    ("idle-timeout", "dropped", "host", "connections that nobody has"),
    ("stale-udp", "dropped", "host", "dropped or rejected by rules of host: -P FORWARD DROP (292)"),
    ("rate-limit", "over-limit", "host", "over the limits of host's rules: -A DOCKER-USER -i eth0"),
    ("small-window", "receive-window", "workloads.0", "the receiver's window held it back"),
    ("connection-pool", "pool-full", "web:8000", "its 4 connections to db:5432 were in use"),
    ("retry-storm", "retries", "web:8000", "times each, as no answer came in 100 ms"),
    ("backlog-full", "connections-full", "web:9000", "SYNs were dropped, as its backlog was full"),
])
def test_a_run_says_what_was_wrong(root: Path, name: str, what: str, place: str, text: str) -> None:
    def told(summary: dict[str, Any]) -> list[dict[str, Any]]:
        return [f for f in summary["findings"] if (f["what"], f["place"]) == (what, place) and text in f["text"]]
    sick, well = run(root, name, False), run(root, name, True)
    [finding] = told(sick)
    assert finding["weight"] > sum(f["weight"] for f in told(well))
    assert finding["cure"]


def test_what_would_be_short_first(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"

    def conclusion(rate: int) -> str:
        path.write_text(json.dumps({"services": {"a": {}}, "x-simcore": {
            "duration": "10s", "servers": {"web": {"address": "93.184.216.34"}}, "links": {"host": {"rate": "8Mbit"}},
            "workloads": [{"kind": "udp", "from": "a", "to": "web", "port": 9, "rate": rate, "pattern": "constant"}]}}))
        world = World(load(path))
        world.run()
        return str(world.summary()["conclusion"])
    assert conclusion(5).startswith("Nothing comes near its limit; link host/eth0 is the fullest, 0.49% used.")
    world = World(load(path))
    world.run()
    summary = world.summary()
    assert summary["headroom"][0] == {"resource": "link host/eth0", "used": summary["links"]["host/eth0"]["utilisation"]}
    assert {h["resource"] for h in summary["headroom"]} > {"conntrack table", "source ports towards 93.184.216.34:9"}
    assert conclusion(500) == "What would be short first: link host/eth0, 50% used, at about 2 times this load."
    assert conclusion(2000) == "What limits: the queue and rate of host/eth0."


def test_a_short_run_knows_how_full_conntrack_will_be(tmp_path: Path) -> None:
    """Connections that are over stay for two minutes: ten seconds foretell what ten minutes show."""
    path = tmp_path / "f.yaml"

    def run_for(seconds: float, most: int = 262144) -> dict[str, Any]:
        path.write_text(json.dumps({"services": {"a": {}}, "x-simcore": {
            "duration": seconds, "servers": {"api": {"address": "93.184.216.34"}},
            "host": {"sysctls": {"net.netfilter.nf_conntrack_max": most}},
            "workloads": [{"kind": "load", "from": "a", "to": "api", "port": 80, "users": 40, "think": {"exponential": "200ms"},
                           "keep-alive": False, "response-size": 1000}]}}))
        world = World(load(path))
        world.run()
        return world.summary()
    short, long = run_for(10), run_for(300)
    assert short["conntrack_stats"]["entries"] < 2400
    assert short["conntrack_stats"]["expected"] == pytest.approx(long["conntrack_stats"]["expected"], rel=0.05)
    assert long["conntrack_stats"]["expected"] == len(long["conntrack"]) > 19_000       # nothing left to foretell
    small = run_for(10, 10_000)
    assert [f["what"] for f in small["findings"]] == ["conntrack-filling"]
    assert "will be full if it goes on like this" in small["findings"][0]["text"]
    assert small["conclusion"].startswith("What limits: the conntrack table")
    unlimited = run_for(10, 0)                                                          # as nf_conntrack_max says it
    assert unlimited["findings"] == []
    assert "conntrack table" not in {h["resource"] for h in unlimited["headroom"]}
