"""Workloads: distributions have their means, sources their rates, closed loops obey Little's law, traces keep their times."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from natfast import capture
from simcore import units
from simcore.docker.compose import Compose, load
from simcore.errors import ScenarioError
from simcore.study.scenario import World
from simcore.traffic.distributions import Distribution
from simcore.traffic.trace import load as load_trace


@pytest.mark.parametrize(("spec", "mean", "deviation"), [
    (5, 5, 0), ({"uniform": [2, 4]}, 3, 1 / np.sqrt(3)), ({"exponential": 3}, 3, 3),
    ({"pareto": {"mean": 6, "shape": 4}}, 6, 6 / np.sqrt(8)),

    ({"lognormal": {"mean": 2, "sigma": 0.5}}, 2, 2 * np.sqrt(np.exp(0.25) - 1)), ({"empirical": [[1, 3], [5, 1]]}, 2, np.sqrt(3))])
def test_distributions(spec: Any, mean: float, deviation: float) -> None:
    d = Distribution(spec)
    values = d.sample(np.random.default_rng(3), 400_000)
    assert d.mean == pytest.approx(mean)
    assert values.mean() == pytest.approx(mean, rel=0.02)
    assert values.std() == pytest.approx(deviation, rel=0.05)
    assert (values >= 0).all()


def test_distributions_read_units_and_files(tmp_path: Path) -> None:
    assert Distribution({"exponential": "10ms"}, units.duration).mean == pytest.approx(0.01)
    assert Distribution("64k", units.size).mean == 65536
    (tmp_path / "sizes.csv").write_text("1000,1\n3000,1\n")
    assert Distribution({"empirical": str(tmp_path / "sizes.csv")}, units.size).mean == 2000
    for bad, message in (({"zipf": 2}, "no distribution"), ({"pareto": {"mean": 3}}, "pareto"),
                         ({"pareto": {"mean": 3, "shape": 1}}, "no mean"),
                         ({"empirical": []}, "empirical"), ({"uniform": [4, 2]}, "above"), ("many", "not a size")):
        with pytest.raises(ValueError, match=message):
            Distribution(bad, units.size)


def world(*workloads: dict[str, Any], duration: str = "20s", **x: Any) -> World:
    return World(Compose.model_validate({"services": {"a": {}, "b": {}}, "x-simcore": {
        "duration": duration, "seed": 3, "servers": {"web": {"address": "93.184.216.34"}},
        "links": {"host": {"rate": "1Gbit", "latency": "50us"}, "server": {"rate": "1Gbit", "latency": "5ms"}},
        "workloads": [{"to": "web", **w} for w in workloads], **x}}))


def test_on_off_sources_keep_their_mean_rate_and_are_burstier() -> None:
    """Half of the time on at twice the rate: as many packets, in bursts; heavy tails more so."""
    spread = {}
    for name, extra in {"constant": {"rate": 200, "pattern": "constant"}, "poisson": {"rate": 200},
                        "onoff": {"rate": 400, "on": {"exponential": "500ms"}, "off": {"exponential": "500ms"}},
                        "pareto": {"rate": 400, "on": {"pareto": {"mean": "500ms", "shape": 1.5}},
                                   "off": {"pareto": {"mean": "500ms", "shape": 1.5}}}}.items():
        w = world({"kind": "udp", "from": "a", "port": 9, "size": 100, **extra}, duration="400s")
        sampler = w.sample(1.0)
        w.run()
        assert w.summary()["workloads"][0]["sent"] == pytest.approx(200 * 400, rel={"pareto": 0.3, "onoff": 0.1}.get(name, 0.01))
        spread[name] = float(np.std([r["router/eth1 utilisation"] for r in sampler.rows[1:]]))
    assert spread["constant"] < 0.2 * spread["poisson"] < 0.2 * 0.3 * spread["onoff"]
    assert spread["pareto"] > 2 * spread["poisson"]


def test_stop_and_start() -> None:
    w = world({"kind": "udp", "from": "a", "port": 9, "rate": 100, "pattern": "constant", "start": "2s", "stop": "5s"})
    w.run()
    assert w.summary()["workloads"][0]["sent"] == pytest.approx(300, abs=1)


def test_closed_loop_obeys_littles_law() -> None:
    """N users in a loop: throughput = N / (response time + think time)."""
    w = world({"kind": "load", "from": "a", "port": 80, "users": 50, "think": {"exponential": "100ms"}, "response-size": "5k",
               "service": "20ms"}, duration="60s")
    w.run()
    r = w.summary()["workloads"][0]
    assert r["requests_per_s"] == pytest.approx(50 / (r["response_s"]["mean"] + 0.1), rel=0.03)
    assert r["response_s"]["min"] > 0.02 + 0.01
    assert (r["failed"], r["connections"]) == (0, 50)


@pytest.mark.parametrize(("keep_alive", "per_connection"), [(True, None), (False, 1), (5, 5)])
def test_keep_alive(keep_alive: bool | int, per_connection: int | None) -> None:
    w = world({"kind": "load", "from": "a", "port": 80, "users": 4, "think": "10ms", "requests": 100, "keep-alive": keep_alive,
               "request-size": 3000, "response-size": {"exponential": "20k"}})
    w.run()
    r = w.summary()["workloads"][0]
    assert r["requests_done"] == 100
    assert r["connections"] == (4 if per_connection is None else pytest.approx(100 / per_connection, abs=4))


def test_load_on_a_published_port() -> None:
    w = World(Compose.model_validate({"services": {"app": {"ports": ["8080:80"]}}, "x-simcore": {
        "duration": "5s", "servers": {"user": {"address": "93.184.216.34"}},
        "workloads": [{"kind": "load", "from": "user", "to": "192.168.1.100", "port": 8080, "served-by": "app", "server-port": 80,
                       "users": 3, "think": "100ms", "requests": 30}]}}))
    w.run()
    assert w.summary()["workloads"][0]["requests_done"] == 30


def test_a_trace_is_replayed_with_its_own_times(tmp_path: Path, data: Path) -> None:
    (tmp_path / "trace.csv").write_text("time,bytes\n0.5,100\n0.75,1400\n0.75,60\n2.5,500\n")
    w = world({"kind": "trace", "from": "a", "port": 9, "file": str(tmp_path / "trace.csv"), "start": "1s"},
              links={"container": {}})
    w.capture(tmp_path / "out.pcapng", "udp", interfaces=["a/eth0"])
    w.run()
    got = [(round(r.time, 6), r.length) for r in capture.read(tmp_path / "out.pcapng") if r.frame[23] == 17]
    # the first waits for ARP, on links without latency not for long
    assert got == [(1.0, 100), (1.25, 1400), (1.25, 60), (3.0, 500)]
    assert w.summary()["workloads"][0]["received"] == 4
    pcap = next(iter(sorted((data / "captures").glob("*.pcap*"))))
    times, sizes = load_trace(pcap)
    assert times[0] == 0
    assert (np.diff(times) >= 0).all()
    assert len(times) == len(sizes) > 0


@pytest.mark.parametrize(("text", "message"), [("", "holds no packets"), ("0,1\nx,2\n", "line 2: expected time,bytes"),
                                              ("0\n", "holds no packets")])
def test_bad_traces(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ScenarioError, match=message):
        load_trace(tmp_path / "t.csv")


def test_parallel_bulk_flows_until_a_stop() -> None:
    w = world({"kind": "bulk", "from": "a", "port": 9000, "flows": 4, "stop": "5s", "congestion": "bbr"},
              {"kind": "bulk", "from": "b", "port": 9000, "size": "1M"})
    w.run()
    first, second = w.summary()["workloads"]
    assert len(first["flows"]) == 4
    assert all(f["bytes"] > 1e6 and 5 <= f["total_time_s"] < 6 for f in first["flows"])
    assert second["bytes"] == 1 << 20


def test_what_is_repeated_or_has_no_size_ends_when_it_is_to() -> None:
    w = world({"kind": "ping", "from": "a", "start": "1s", "stop": "4.5s"}, {"kind": "ping", "from": "a", "count": 9, "stop": "4.5s"},
              {"kind": "ping", "from": "b"}, {"kind": "bulk", "from": "b", "port": 9000},
              {"kind": "http", "from": "a", "port": 1, "stop": "3s"})
    w.compose.x.duration = 10.0
    w.run()
    until, nine, once, bulk, http = w.summary()["workloads"]
    assert [len(p["rtt_s"]) for p in (until, nine, once)] == [4, 5, 1]
    assert bulk["goodput_bps"] > 1e6
    assert len(http["requests"]) == 3


def test_time_that_stands_still_is_told() -> None:
    """A path with neither rate nor latency carries without end."""
    w = world({"kind": "bulk", "from": "a", "port": 9000, "stop": "1s"}, links={"container": {}, "host": {}, "server": {}})
    with pytest.raises(ScenarioError, match=r"time stands still at 0 s, after \d+ events .* neither rate nor latency\?"):
        w.run()


@pytest.mark.parametrize(("workload", "message"), [
    ({"kind": "load"}, r"workloads\.0\.port: is needed here"), ({"kind": "trace", "port": 1}, r"workloads\.0\.file: is needed here"),
    ({"kind": "udp", "port": 1, "rate": 5, "on": 1}, r"workloads\.0: 'on' and 'off' come together"),
    ({"kind": "ping", "users": 5}, r"workloads\.0\.users: unknown key"),
    ({"kind": "udp", "port": 1, "rate": 5, "size": "big"}, r"workloads\.0\.size: 'big' is not a size"),
    ({"kind": "ping", "interval": "x"}, r"workloads\.0\.interval: 'x' is not a time"),
    ({"kind": "load", "port": 1, "keep-alive": "x"}, r"workloads\.0\.keep-alive: 'x': expected a whole number"),
    ({"kind": "pong"}, r"workloads\.0: kind: 'pong', expected one of http, ping, dns, load, bulk, udp, trace"),
    ({}, r"workloads\.0: expected a kind: http"), ({"kind": "ping", "interval": 0, "stop": 1}, "expected 'count' or 'interval'"),
    ({"kind": "load", "port": 1, "rate": 5, "users": 2}, r"workloads\.0: 'users' is of users, who wait for answers, and 'rate'"),
    ({"kind": "load", "port": 1, "pool": 2}, r"workloads\.0: 'pool' comes with 'rate'"),
    ({"kind": "load", "port": 1, "think": {"zipf": 1}}, r"workloads\.0\.think: .*no distribution")])
def test_bad_workloads(tmp_path: Path, workload: dict[str, Any], message: str) -> None:
    (tmp_path / "c.yaml").write_text(json.dumps({"services": {"a": {}}, "x-simcore": {
        "workloads": [{"from": "a", "to": "a", **workload}]}}))
    with pytest.raises(ScenarioError, match=message):
        load(tmp_path / "c.yaml")


@pytest.mark.parametrize(("stop", "latency"), [(10.0, "200ms"), (9.9, "200ms"), (8.0, "200ms"), (10.0, "1us")])
def test_datagrams_under_way_are_not_lost(tmp_path: Path, stop: float, latency: str) -> None:
    """Of 2 000 datagrams one in ten is lost, however many are in the network when the run ends."""
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps({"services": {"a": {}}, "x-simcore": {
        "duration": 10, "servers": {"far": {"address": "93.184.216.34"}}, "links": {"server": {"latency": latency, "loss": 0.1}},
        "workloads": [{"kind": "udp", "from": "a", "to": "far", "port": 9, "rate": 200, "stop": stop, "pattern": "constant"}]}}))
    world = World(load(path))
    world.run()
    w = world.summary()["workloads"][0]
    assert abs(w["loss"] - 0.1) < 3 * (0.1 * 0.9 / w["sent"]) ** 0.5


def test_a_run_can_go_on(tmp_path: Path) -> None:
    """What was summed up once is summed up again: the same as of one run."""
    path = tmp_path / "f.yaml"
    path.write_text(json.dumps({"services": {"a": {}}, "x-simcore": {
        "duration": 6, "servers": {"far": {"address": "93.184.216.34"}}, "links": {"server": {"rate": "2Mbit", "latency": "1ms"}},
        "workloads": [{"kind": "load", "from": "a", "to": "far", "port": 80, "users": 2, "think": 0.1},
                      {"kind": "bulk", "from": "a", "to": "far", "port": 9, "stop": 6},
                      {"kind": "bulk", "from": "a", "to": "far", "port": 9, "flows": 2, "size": "100k"}]}}))
    once, twice = World(load(path)), World(load(path))
    once.run()
    twice.run(3.0)
    half = twice.summary()["workloads"]
    twice.run()
    assert twice.summary()["workloads"] == once.summary()["workloads"]
    requests, endless, two = half
    assert requests["response_s"]["count"] == requests["requests_done"] > 5
    assert 0 < endless["bytes"] < once.summary()["workloads"][1]["bytes"]
    assert [f["bytes"] for f in once.summary()["workloads"][2]["flows"]] == [102400, 102400]
    assert len(two["flows"]) == 2
