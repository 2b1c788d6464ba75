"""Users who think, and few who serve them: the machine-repair model (M/M/c//N), whose answer is exact and known.

It holds for workers, and for connections of a pool; where requests come at a rate it is M/M/c. Thinking and the network's
latencies are one delay, of whose distribution only the mean matters.
"""
from __future__ import annotations

import math
from typing import Any

import pytest

from simcore.docker.compose import Compose
from simcore.study.scenario import World

USERS, THINK, SERVICE, LATENCY = 40, 0.2, 0.02, 0.001
LAN = 4 * 5e-6                      # there and back over two links of a bridge


def repaired(servers: int, delay: float) -> tuple[float, float, float]:
    """Throughput, mean time at the station, share of the servers that are busy; states are how many are there."""
    weights = [1.0]
    for n in range(USERS):
        weights.append(weights[-1] * (USERS - n) / delay * SERVICE / min(n + 1, servers))
    p = [w / sum(weights) for w in weights]
    busy = sum(x * min(n, servers) for n, x in enumerate(p))
    there = sum(x * n for n, x in enumerate(p))
    return busy / SERVICE, there / (busy / SERVICE), busy / servers


def run(engine: str = "compiled", duration: float = 120.0, keep_alive: bool = True, asking: dict[str, Any] | None = None,
        **apps: dict[str, Any]) -> dict[str, Any]:
    w = World(Compose.model_validate({
        "services": {name: {"x-simcore": {"app": app}} for name, app in apps.items()},
        "x-simcore": {"duration": duration, "warmup": duration / 10, "seed": 5, "servers": {"users": {"address": "93.184.216.34"}},
                      "links": {"container": {"latency": "5us"}, "server": {"latency": LATENCY}},
                      "host": {"iptables": ["-I DOCKER-USER -j ACCEPT"]},
                      "workloads": [{"kind": "load", "from": "users", "to": "web", "port": 80, "keep-alive": keep_alive,
                                     "response-size": 100, **(asking or {"users": USERS, "think": {"exponential": THINK}})}]}}),
        engine=engine)
    # the users' router knows the way to the containers' network
    w.internet.router.add_route("172.17.0.0/16", "eth0", "192.168.1.100")
    w.run()
    return w.summary()


WORKERS = {"port": 80, "workers": 4, "service": {"exponential": SERVICE}}
ASIDE = {"web": {"port": 80, "workers": 4, "calls": [{"to": "db", "port": 1}]}, "db": {"port": 1, "service": {"exponential": SERVICE}}}
POOL = {"web": {"port": 80, "calls": [{"to": "db", "port": 1, "pool": 4, "response-size": 100}]},
        "db": {"port": 1, "service": {"exponential": SERVICE}}}
BEHIND = {"web": {"port": 80, "workers": 1, "async": True, "calls": [{"to": "db", "port": 1}]},
          "db": {"port": 1, "workers": 4, "service": {"exponential": SERVICE}}}


@pytest.mark.parametrize(("apps", "where"), [
    ({"web": WORKERS}, ("web:80",)), (ASIDE, ("web:80",)), (POOL, ("web:80", "calls", "db:1")), (BEHIND, ("db:1",))],
    ids=["workers", "workers that wait for others", "a pool", "workers behind others"])
def test_throughput_response_time_and_utilisation(apps: dict[str, Any], where: tuple[str, ...]) -> None:
    summary = run(**apps)
    rate, time, busy = repaired(4, THINK + 2 * (LATENCY + 5e-6))
    station = summary["apps"]
    for key in where:
        station = station[key]
    assert summary["workloads"][0]["requests_per_s"] == pytest.approx(rate, rel=0.03)
    assert summary["workloads"][0]["response_s"]["mean"] - 2 * LATENCY == pytest.approx(time, rel=0.08)
    assert station["utilisation"] == pytest.approx(busy, rel=0.03)
    waited = station["wait_s"]["mean"]
    assert waited == pytest.approx(time - SERVICE, rel=0.12)
    level = station["mean_queue"] if "mean_queue" in station else station["mean_waiting"]
    assert level == pytest.approx(waited * summary["workloads"][0]["requests_per_s"], rel=0.02)     # Little


def erlang_c(servers: int, offered: float) -> float:
    """The share of arrivals that find all servers busy (M/M/c)."""
    p = [offered**n / math.factorial(n) for n in range(servers)]
    last = offered**servers / math.factorial(servers) * servers / (servers - offered)
    return last / (sum(p) + last)


@pytest.mark.parametrize(("apps", "where"), [({"web": WORKERS}, ("web:80",)), (POOL, ("web:80", "calls", "db:1"))],
                         ids=["workers", "a pool"])
def test_requests_at_a_rate(apps: dict[str, Any], where: tuple[str, ...]) -> None:
    """An open loop does not wait for answers: M/M/c."""
    rate = 0.85 * 4 / SERVICE
    summary = run(duration=300.0, asking={"rate": rate}, **apps)
    station = summary["apps"]
    for key in where:
        station = station[key]
    waiting = erlang_c(4, rate * SERVICE) * SERVICE / (4 - rate * SERVICE)
    assert summary["workloads"][0]["requests_per_s"] == pytest.approx(rate, rel=0.01)
    assert station["utilisation"] == pytest.approx(0.85, rel=0.015)
    assert station["wait_s"]["mean"] == pytest.approx(waiting, rel=0.1)
    assert summary["workloads"][0]["response_s"]["mean"] - 2 * LATENCY == pytest.approx(waiting + SERVICE, rel=0.05)


def test_connections_that_a_server_takes_at_a_time() -> None:
    """Each is there for its service and the way of the answer, and of the client's FIN; the next waits in the backlog."""
    summary = run(keep_alive=False, web={"port": 80, "connections": 4, "service": {"exponential": SERVICE}})
    web = summary["apps"]["web:80"]
    held = SERVICE + 2 * LATENCY            # accepted by an ACK that the request comes with; closed when the client's FIN is here
    assert web["overflows"] == 0
    assert web["open"] == pytest.approx(web["requests_per_s"] * held, rel=0.03)
    assert 0.8 < web["open_share"] < 1


def test_both_engines_agree() -> None:
    for apps in ({"web": WORKERS}, ASIDE, POOL, BEHIND):
        asking = {"rate": 100, "pool": 3} if apps is BEHIND else None
        one, other = (run(engine, 3.0, asking=asking, **apps) for engine in ("compiled", "simpy"))
        assert one["apps"] == other["apps"]
        assert one["workloads"] == other["workloads"]
