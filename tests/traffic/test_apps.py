"""Applications: who answers whom, what happens to requests whose calls fail, and what a file may not say of them."""
from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcore.docker.compose import Compose, load
from simcore.errors import ScenarioError
from simcore.net.cable import LinkParameters
from simcore.study.scenario import World
from simcore.traffic.distributions import Distribution
from simcore.traffic.server import Server
from simcore.transport import TcpListener, TcpSocket
from tests.transport.net import Pair

USERS = {"users": 3, "think": {"exponential": "20ms"}}


def world(services: dict[str, Any], *workloads: dict[str, Any], engine: str = "compiled", **x: Any) -> World:
    w = World(Compose.model_validate({"services": services, "x-simcore": {
        "duration": "5s", "seed": 3, "servers": {"far": {"address": "93.184.216.34"}},
        "workloads": [{"kind": "load", "from": "user", "port": 80, **({} if "rate" in w else USERS), **w} for w in workloads],
        **x}}), engine=engine)
    w.run()
    return w


def app(**spec: Any) -> dict[str, Any]:
    return {"x-simcore": {"app": spec}}


def refusing(port: int) -> dict[str, Any]:
    """A host between whose containers nobody listens at a port."""
    return {"iptables": [f"-I FORWARD -p tcp --dport {port} -j REJECT --reject-with tcp-reset"]}


def test_a_chain_of_three_and_replicas() -> None:
    """Every request makes its calls, once each and in turn over the replicas; nobody else is asked."""
    s = world({"user": {}, "web": app(calls=[{"to": "api", "port": 81, "count": 2}, {"to": "far", "port": 443}]),
               "api": {"deploy": {"replicas": 3}, **app(port=81, calls=[{"to": "db", "port": 82, "pool": 1, "keep-alive": False}])},
               "db": app(port=82, service={"exponential": "1ms"}, workers=1)}, {"to": "web"}).summary()
    apps, done = s["apps"], s["workloads"][0]["requests_done"]
    assert list(apps) == ["web:80", "api-1:81", "api-2:81", "api-3:81", "db:82"]
    assert done > 300
    web = apps["web:80"]
    assert web["answered"] == pytest.approx(done, abs=3)
    assert web["calls"]["far:443"]["answered"] == pytest.approx(done, abs=3)
    each = [apps[f"api-{i}:81"]["answered"] for i in (1, 2, 3)]
    assert sum(each) == pytest.approx(2 * done, abs=3)
    assert max(each) - min(each) <= 3
    assert apps["db:82"]["answered"] == pytest.approx(2 * done, abs=3)
    assert [apps[f"api-{i}:81"]["calls"]["db:82"]["connections"] for i in (1, 2, 3)] == pytest.approx(each, abs=1)
    assert web["calls"]["api:81"]["connections"] <= 3
    assert s["workloads"][0]["failed"] == 0


def test_a_worker_that_is_busy_all_the_time_it_is_measured() -> None:
    """Nobody has got a worker since the measuring began, so nothing is known of waits."""
    s = world({"user": {}, "web": app(workers=1, service="100s")}, {"to": "web"}, warmup="1s").summary()
    assert s["apps"]["web:80"]["wait_s"] == {"count": 0}
    assert s["apps"]["web:80"]["utilisation"] == pytest.approx(1)
    assert s["conclusion"] == "What limits: the workers of web:80."


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_a_call_that_fails(engine: str) -> None:
    """`inner` has no way out: its calls fail at once, and who asked finds his connection closed; the others go on."""
    w = World(Compose.model_validate({
        "services": {"user": {"networks": ["inner"]}, "web": {"networks": ["inner"], **app(workers=1, calls=[{"to": "far", "port": 443}])},
                     "fine": {"networks": ["inner"], **app(port=81)}},
        "networks": {"inner": {"internal": True}},
        "x-simcore": {"duration": "5s", "servers": {"far": {"address": "93.184.216.34"}},
                      "workloads": [{"kind": "load", "from": "user", "to": to, "port": port, "users": 2, "think": "50ms"}
                                    for to, port in (("web", 80), ("fine", 81))]}}), engine=engine)
    w.run()
    s = w.summary()
    web, asked = s["apps"]["web:80"], s["workloads"][0]
    assert web["failed"] == web["requests"] == web["calls"]["far:443"]["errors"]["ENETUNREACH"] == asked["errors"]["ECONNRESET"] > 150
    assert web["answered"] == asked["requests_done"] == 0
    assert web["utilisation"] == 0
    assert s["workloads"][1]["failed"] == 0
    assert any(f["what"] == "failed" and "calls to far:443 failed with ENETUNREACH (there is no route" in f["text"] for f in s["findings"])


def test_calls_side_by_side_take_as_long_as_the_longest() -> None:
    """Of two exponential times the longer is half as long again as one (1 + 1/2), and one after the other they are twice as long."""
    one, other = ({"to": name, "port": 81, "pool": 50} for name in ("one", "other"))

    def mean(*calls: Any) -> dict[str, Any]:
        asked = {name: app(port=81, service={"exponential": "20ms"}) for name in ("one", "other")}
        return world({"user": {}, "web": app(calls=list(calls)), **asked}, {"to": "web", "users": 20, "think": "20ms"},
                     duration="100s").summary()
    both, turn = mean([one, other]), mean(one, other)
    assert both["apps"]["web:80"]["response_s"]["mean"] == pytest.approx(0.030, rel=0.02)
    assert turn["apps"]["web:80"]["response_s"]["mean"] == pytest.approx(0.040, rel=0.02)
    assert [c["stage"] for c in both["apps"]["web:80"]["calls"].values()] == [1, 1]
    for s in (both, turn):
        done = s["workloads"][0]["requests_done"]
        assert all(c["answered"] == pytest.approx(done, abs=21) for c in s["apps"]["web:80"]["calls"].values())


def test_one_of_several_side_by_side_fails() -> None:
    """Whoever asked hears of it at once, and of it alone; what was asked of the other is answered, and nobody waits for it."""
    calls = [[{"to": "slow", "port": 81, "count": 2}, {"to": "slow", "port": 82}], {"to": "far", "port": 1}]
    s = world({"user": {}, "web": app(workers=1, calls=calls), "slow": app(port=81, service="100ms")},
              {"to": "web", "users": 1, "think": "1s"}, duration="4500ms", host=refusing(82)).summary()
    web, done = s["apps"]["web:80"], s["workloads"][0]
    assert done["failed"] == done["errors"]["ECONNRESET"] == web["failed"] == web["calls"]["slow:82"]["errors"]["ECONNREFUSED"] == 4
    assert web["calls"]["slow:81"]["answered"] == 4                # not made a second time
    assert web["calls"]["far:1"]["answered"] == web["answered"] == 0
    assert web["utilisation"] < 0.01


@pytest.mark.parametrize(("timeout", "error"), [("699ms", "ETIMEDOUT"), ("705ms", "ECONNRESET")])
def test_pauses_before_calls_are_made_again_double(timeout: str, error: str) -> None:
    """Nobody listens: three calls more, after pauses of 100, 200 and 400 ms."""
    s = world({"user": {}, "web": app(calls=[{"to": "user", "port": 9, "retries": 3, "backoff": "100ms"}])},
              {"to": "web", "users": 1, "think": 0, "requests": 2, "timeout": timeout}, duration="10s", host=refusing(9)).summary()
    assert s["apps"]["web:80"]["calls"]["user:9"]["retried"] == 6
    assert s["apps"]["web:80"]["failed"] == 2
    assert s["workloads"][0]["errors"] == {error: 2}


OPEN = {"rate": 20, "pattern": "constant"}
CLOSED = {"users": 1, "think": "50ms"}


@pytest.mark.parametrize("clients", [OPEN, CLOSED])
def test_clients_try_again(clients: dict[str, Any]) -> None:
    """Nobody listens: three tries more, after pauses of 100, 200 and 400 ms; no other request is made in their place."""
    load = {"kind": "load", "from": "user", "to": "web", "port": 9, "requests": 2, "timeout": "90ms", "retries": 3, "backoff": "100ms",
            **clients}
    w = World(Compose.model_validate({"services": {"user": {}, "web": {}},
                                      "x-simcore": {"workloads": [load], "host": refusing(9), "duration": "5s"}}))
    w.run(0.6)
    early = w.summary()["workloads"][0]
    assert (early["retried"], early["failed"]) == ((6, 0) if clients is OPEN else (3, 0))
    assert early["unanswered"] == (2 if clients is OPEN else 1)
    w.run(5.0)
    end = w.summary()["workloads"][0]
    assert (end["retried"], end["failed"], end["errors"], end["unanswered"]) == (6, 2, {"ECONNREFUSED": 2}, 0)
    assert [f["what"] for f in w.summary()["findings"] if f["place"] == "workloads.0"] == ["failed"]       # no storm


@pytest.mark.parametrize("clients", [{"rate": 200}, {"users": 10, "think": {"exponential": "50ms"}}])
def test_pauses_as_long_as_an_outage_bridge_it(clients: dict[str, Any]) -> None:
    """A second's outage: no request fails, and the longest took as long; the time of all tries counts. Without retries many fail."""
    def outage(**how: Any) -> dict[str, Any]:
        w = world({"user": {}, "web": app(service="1ms")}, {"to": "web", "timeout": "100ms"} | clients | how, events=[
            {"at": "2s", "link": "web/eth0", "state": "down"}, {"at": "3s", "link": "web/eth0", "state": "up"}])
        return dict(w.summary()["workloads"][0])
    bridged = outage(retries=5, backoff={"uniform": ["100ms", "200ms"]})
    assert bridged["failed"] == 0
    assert 0.9 < bridged["response_s"]["max"] < 4
    given_up = outage()
    assert given_up["retried"] == 0
    assert given_up["failed"] > 50
    assert given_up["response_s"]["max"] < 0.1


def test_a_storm_of_clients() -> None:
    """Clients that try again at once keep an outage going that they would have got over; the conclusion names them."""
    def outage(**how: Any) -> dict[str, Any]:
        return world({"user": {}, "db": app(workers=4, service={"exponential": "10ms"})},
                     {"to": "db", "rate": 250, "timeout": "100ms", **how}, duration="10s", events=[
            {"at": "2s", "link": "db/eth0", "state": "down"}, {"at": "3s", "link": "db/eth0", "state": "up"}]).summary()
    storm, calm = outage(retries=3), outage(retries=3, timeout="2s")
    assert storm["workloads"][0]["requests_done"] < 250 * 3 < 250 * 9 < calm["workloads"][0]["requests_done"]
    assert storm["conclusion"] == "What limits: the retries of workloads.0."
    assert "retries" not in {f["what"] for f in calm["findings"]}


def test_a_pooled_connection_that_conntrack_has_forgotten() -> None:
    """The host deletes it while it is idle; the next call on it gets a reset, and is not tried again; the one after opens another."""
    w = World(Compose.model_validate({
        "services": {"user": {}, "web": app(calls=[{"to": "far", "port": 443}])},
        "x-simcore": {"duration": "30s", "servers": {"far": {"address": "93.184.216.34"}},
                      "host": {"iptables": ["-I FORWARD -m conntrack --ctstate INVALID -j REJECT --reject-with tcp-reset -p tcp"],
                               "sysctls": {"net.netfilter.nf_conntrack_tcp_loose": 0}},
                      "events": [{"at": at, "conntrack-delete": {"protocol": "tcp", "dport": 443}} for at in ("5s", "15s")],
                      "workloads": [{"kind": "load", "from": "user", "to": "web", "port": 80, "users": 1, "think": "1s"}]}}))
    w.run()
    s = w.summary()
    calls = s["apps"]["web:80"]["calls"]["far:443"]
    assert calls["errors"] == {"ECONNRESET": 2}
    assert calls["connections"] == 3
    assert s["workloads"][0]["errors"] == {"ECONNRESET": 2}
    assert calls["answered"] > 20


def test_who_closes_early_or_says_nonsense_does_no_harm() -> None:
    net = Pair(LinkParameters(latency=1e-3))
    env, a, b = net.env, net.a, net.b
    server = Server(b, 80, Distribution(0.5), workers=1, connections=2)
    other = TcpListener(b, 81)
    assert other.most == 0

    def early(data: bytes) -> Any:
        s = TcpSocket(a)
        yield s.connect("10.0.0.2", 80)
        yield s.send(data)
        s.abort()

    def patient() -> Any:
        s = TcpSocket(a)
        yield s.connect("10.0.0.2", 80)
        yield s.send(b"\0\0\0\x08\0\0\0\x05" * 2)
        got = b""
        while len(got) < 10:
            got += yield s.recv()
        assert got == bytes(10)
        assert env.now > 2.0                                    # behind the two that nobody waits for any more
        yield s.close()
        return True

    for data in (b"\0\0\0\x08\0\0\0\x05", b"\0\0\0\x08\0\0\0\x05", b"\0\0\0\x00\0\0", b"GET / HTTP/1.1\r\n\r\n"):
        env.process(early(data))
    done = env.process(patient())
    assert env.run(done)
    env.run()
    counts = server.counts()
    assert counts["requests"] == counts["answered"] == 4
    assert counts["busy_s"] == pytest.approx(4 * 0.5)
    assert server.listener.taken == 0


SERVICES = [0, "3ms", {"exponential": "5ms"}, {"empirical": [[0, 1], ["9ms", 1]]}]


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_random_chains(data: st.DataObject) -> None:
    """Nothing is lost or made up: requests are answered, failed, waiting or under way; both engines agree to the last digit."""
    number = st.one_of(st.none(), st.integers(1, 3))
    names = ["web", "api", "db"]
    services: dict[str, Any] = {"user": {}}
    for i, name in enumerate(names):
        calls: list[Any] = [
            {"to": to, "port": 80, "count": data.draw(st.integers(1, 2)), "pool": data.draw(number),
             "keep-alive": data.draw(st.sampled_from([True, False, 2])), "timeout": data.draw(st.sampled_from([None, "6ms", "30ms"])),
             "retries": data.draw(st.integers(0, 2)), "backoff": data.draw(st.sampled_from([None, "2ms", {"exponential": "5ms"}]))}
            for to in names[i + 1:] * 2 if data.draw(st.booleans())]
        if calls and data.draw(st.booleans()):
            calls[:2] = [calls[:2]]                             # side by side
        services[name] = {"deploy": {"replicas": data.draw(st.integers(1, 2))},
                          **app(workers=data.draw(number), **{"async": data.draw(st.booleans())}, connections=data.draw(number),
                                backlog=data.draw(st.integers(1, 4)), calls=calls, service=data.draw(st.sampled_from(SERVICES)))}
    load = {"kind": "load", "from": "user", "to": "web", "port": 80, "keep-alive": data.draw(st.booleans()),
            "timeout": data.draw(st.sampled_from([None, "10ms"])), "retries": data.draw(st.integers(0, 2)),
            "backoff": data.draw(st.sampled_from([None, "2ms", {"exponential": "5ms"}])),
            **data.draw(st.sampled_from([{"users": 12, "think": {"exponential": "20ms"}}, {"rate": 150}, {"rate": 100, "pool": 2}]))}

    def run(engine: str) -> dict[str, Any]:
        w = World(Compose.model_validate({"services": services, "x-simcore": {"duration": "1s", "workloads": [load]}}), engine=engine)
        w.run()
        return w.summary()
    s = run("compiled")
    for a in s["apps"].values():
        assert a["requests"] >= a["answered"] + a["failed"]
        assert a["workers"] is None or 0 <= a["utilisation"] <= 1 + 1e-9
        assert a["connections"] is None or 0 <= a["open_share"] <= 1 + 1e-9
        assert a["mean_queue"] >= 0
        for call in a["calls"].values():
            assert call["pool"] is None or 0 <= call["utilisation"] <= 1 + 1e-9
            assert set(call["errors"]) <= {"ETIMEDOUT", "ECONNRESET"}
            assert sum(call["errors"].values()) == call["failed"]
    asked, web = s["workloads"][0], [a for name, a in s["apps"].items() if name.startswith("web")]
    assert asked["requests_done"] <= sum(a["answered"] for a in web) <= sum(a["requests"] for a in web)
    assert set(asked["errors"]) <= {"ETIMEDOUT", "ECONNRESET"}
    other = run("simpy")
    assert (s["apps"], s["workloads"]) == (other["apps"], other["workloads"])


@pytest.mark.parametrize(("services", "workload", "message"), [
    ({"a": app(calls=[{"to": "nobody", "port": 1}])}, {}, r"services\.a\.x-simcore\.app\.calls\.0\.to: 'nobody' is neither a service"),
    ({"a": app(calls=[{"to": "a", "port": 80}])}, {}, r"services\.a\.x-simcore\.app\.calls: they go round in a circle: a:80 → a:80"),
    ({"a": app(calls=[{"to": "b", "port": 80}]), "b": app(calls=[{"to": "c", "port": 80}]),
      "c": app(calls=[{"to": "172.17.0.4", "port": 80}])}, {}, r"circle: b:80 → c:80 → b:80"),
    ({"a": {"x-simcore": {"app": {}, "http": {}}}}, {}, r"something else listens at port 80 of a"),
    ({"a": app(service="1ms")}, {"to": "a", "port": 80, "service": "2ms"}, r"workloads\.0\.service: how long a:80 works on a request"),
    ({"a": app(calls=[{"to": "10.9.9.9", "port": 1}])}, {}, r"services\.a\.x-simcore\.app\.calls\.0\.to: 10\.9\.9\.9 is no machine"),
    ({"a": app(calls=[[]])}, {}, r"services\.a\.x-simcore\.app\.calls\.0: expected at least 1 of them"),
    ({"a": app(calls=[{"to": "far", "port": 1}, [{"to": "a", "port": 0}]])}, {}, r"app\.calls\.1\.0\.port: 0: expected at least 1"),
    ({"a": app(calls=[{"to": "a", "port": 1, "backof": 1}])}, {}, r"app\.calls\.0\.backof: unknown key"),
    ({"a": app(calls=["b"])}, {}, r"app\.calls\.0: 'b': expected a mapping"),
    ({"a": app(calls=[[{"to": "b", "port": 1}, {"to": "nobody", "port": 2}]]), "b": {}}, {}, r"app\.calls\.0\.1\.to: 'nobody' is neither"),
    ({"a": app(workers=0)}, {}, r"services\.a\.x-simcore\.app\.workers: 0: expected at least 1"),
    ({"a": app(connections=1 << 70)}, {}, r"app\.connections: 1180591620717411303424: expected at most 2147483647"),
    ({"a": app(backlog=1 << 40)}, {}, r"app\.backlog: 1099511627776: expected at most 2147483647"),
    ({"a": app(thread=1)}, {}, r"services\.a\.x-simcore\.app\.thread: unknown"),
    ({"a": {"network_mode": "none", **app()}}, {}, r"services\.a\.x-simcore\.app: a has no network"),
    ({"a": {}}, {"to": "a", "served-by": "nobody"}, r"workloads\.0\.served-by: 'nobody' is neither a service nor a server")])
def test_what_a_file_may_not_say(tmp_path: Any, services: dict[str, Any], workload: dict[str, Any], message: str) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps({"services": {"user": {}, **services}, "x-simcore": {
        "duration": "1s", "workloads": [{"kind": "load", "from": "user", "to": "user", "port": 9, "users": 1, **workload}]}}))
    with pytest.raises(ScenarioError, match=message):
        World(load(path))
