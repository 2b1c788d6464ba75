"""DNS: messages as scapy reads them, and a stub resolver's waits."""
from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.dns import DNS

from simcore.docker.compose import Compose
from simcore.study.scenario import World
from simcore.traffic import dns

ZONE = {"web.example": "93.184.216.34"}


def test_messages_are_real() -> None:
    asked = DNS(dns.query(7, "Web.Example", dns.A))
    assert (asked.id, asked.qr, asked.rd, asked.qdcount) == (7, 0, 1, 1)
    assert (asked.qd[0].qname, asked.qd[0].qtype, asked.qd[0].qclass) == (b"Web.Example.", 1, 1)
    said = DNS(dns.answer(dns.query(7, "Web.Example", dns.A), ZONE))
    assert (said.id, said.qr, said.aa, said.rcode, said.ancount) == (7, 1, 1, 0, 1)
    assert (said.an[0].rrname, said.an[0].type, said.an[0].rdata) == (b"Web.Example.", 1, "93.184.216.34")
    none = DNS(dns.answer(dns.query(7, "web.example", dns.AAAA), ZONE))
    assert (none.rcode, none.ancount) == (0, 0)         # the name exists, without such a record
    assert DNS(dns.answer(dns.query(7, "nobody", dns.A), ZONE)).rcode == 3


@pytest.mark.parametrize("message", [b"", bytes(12), dns.query(1, "web", 1)[:-3], dns.query(1, "web", 1)[:14]])
def test_what_is_no_query_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected a message with one question|cut off"):
        dns.parse_question(message)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises((ValueError, UnicodeError)):
        dns.encode_name(name)


def lookups(*workloads: dict[str, Any], engine: str = "compiled", **x: Any) -> list[dict[str, Any]]:
    world = World(Compose.model_validate({"services": {"a": {}, "b": {}}, "x-simcore": {
        "duration": "60s", "servers": {"dns": {"address": "93.184.216.34"}}, "links": {"server": {"rate": "1Gbit", "latency": "5ms"}},
        "workloads": [{"kind": "dns", "from": "a", "to": "dns", **w} for w in workloads], **x}}), engine=engine)
    world.run()
    return [lookup for w in world.summary()["workloads"] for lookup in w["lookups"]]


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_both_questions_take_one_round_trip(engine: str) -> None:
    first, together, one, anew = lookups({}, {"start": "1s"}, {"options": ["single-request"], "start": "2s"},
                                         {"options": ["single-request-reopen"], "start": "3s"}, engine=engine)
    assert together["address"] == one["address"] == anew["address"] == "93.184.216.34"
    assert [r["queries"] for r in (together, one, anew)] == [2, 2, 2]
    assert 0.02 < first["total_time"] < 0.0205          # the router asks for the server's MAC
    assert 0.01 < together["total_time"] < 0.0105
    assert 0.02 < one["total_time"] < 0.0205
    assert 0.02 < anew["total_time"] < 0.0205


def test_a_name_nobody_has() -> None:
    [r] = lookups({"name": "nobody"})
    assert (r["error"], r["address"], r["timeouts"]) == ("no such name", "", 0)


def test_what_is_lost_costs_a_timeout() -> None:
    drop = {"at": 0, "iptables": ["-I FORWARD -p udp --dport 53 -j DROP"]}
    [given_up] = lookups({"timeout": "3s", "attempts": 3}, events=[drop])
    assert (given_up["error"], given_up["timeouts"], given_up["queries"]) == ("timed out", 3, 6)
    assert given_up["total_time"] == pytest.approx(9.0, abs=0.001)
    allowed = {"at": "4s", "iptables": ["-I FORWARD -p udp --dport 53 -j ACCEPT"]}
    [late] = lookups({}, events=[drop, allowed])
    assert (late["error"], late["timeouts"]) == ("", 1)
    assert late["total_time"] == pytest.approx(5.0201, abs=0.001)


def test_half_an_answer_makes_it_ask_one_by_one() -> None:
    """A firewall that swallows the second packet of a socket: the third question comes alone, from another port."""
    rule = "-I FORWARD -p udp --dport 53 -m statistic --mode nth --every 4 --packet 1 -j DROP"
    [r] = lookups({}, host={"iptables": [rule]})
    assert (r["error"], r["timeouts"], r["queries"]) == ("", 1, 3)
    assert r["total_time"] == pytest.approx(5.0101, abs=0.001)


def test_a_closed_port_is_no_wait() -> None:
    world = World(Compose.model_validate({"services": {"a": {}, "b": {}}, "x-simcore": {"duration": "30s"}}))
    results: list[dns.Lookup] = []

    def ask() -> Any:
        results.append((yield from dns.resolve(world.namespace("a"), world.address_of("b"), "web.example")))
    world.env.process(ask())
    world.run()
    assert "ECONNREFUSED" in results[0].error
    assert results[0].total_time < 0.01
    assert results[0].timeouts == 0
