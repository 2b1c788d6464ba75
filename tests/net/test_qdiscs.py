"""Queue disciplines do what tc's do: shares, delays, marks, limits."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simcore.docker.compose import Compose
from simcore.engine import Environment, Streams
from simcore.net.link import Link, plug
from simcore.net.qdisc import PARAMETERS, build
from simcore.net.qdisc.htb import Htb
from simcore.net.qdisc.red import ewma_weight
from simcore.study.scenario import World
from simcore.traffic.frames import FrameSink, FrameSource


def run(spec: Any, sources: list[dict[str, Any]], rate: float = 10e6, until: float = 10.0, seed: int = 1) -> tuple[NDArray[Any], Link]:
    """Sources (rate in frames/s, size, ...) into one link; rows of arrival time, length, mark, delay."""
    env, streams = Environment(), Streams(seed)
    sink = FrameSink(env, "sink", keep_arrivals=True)
    link = Link(env, "queue", sink, 0, rate, 0.0, qdisc=build(spec, streams["qdisc"]))
    for i, s in enumerate(sources):
        poisson = s.pop("poisson", True)
        plug(FrameSource(env, f"s{i}", rng=streams[f"s{i}"] if poisson else None, stop=until,
                         **{"mark": i, "source": f"10.0.1.{i + 1}", **s}), 0, link)
    env.run(until=until)
    return np.array(sink.arrivals), link


def share(rows: NDArray[Any], mark: int, until: float) -> float:
    """bit/s of one source, over the second half."""
    mine = rows[(rows[:, 2] == mark) & (rows[:, 0] > until / 2)]
    return float(mine[:, 1].sum() * 8 / (until / 2))


FLOOD: dict[str, Any] = {"rate": 2000, "size": 1000}       # 16 Mbit/s into 10


def test_htb_guarantees_and_borrowing() -> None:
    classes = {"root": {"rate": "8Mbit"},
               "a": {"parent": "root", "rate": "1Mbit", "ceil": "8Mbit", "burst": "20k"},
               "b": {"parent": "root", "rate": "3Mbit", "ceil": "8Mbit", "burst": "20k"},
               "c": {"parent": "root", "rate": "500kbit", "ceil": "2Mbit", "burst": "20k", "cburst": "20k"}}
    filters = [{"class": "a", "mark": 0}, {"class": "b", "src": "10.0.1.2/32"}, {"class": "c", "mark": "2/0xff"}]
    rows, link = run({"kind": "htb", "classes": classes, "filters": filters}, [dict(FLOOD) for _ in range(3)])
    rates = [share(rows, k, 10) for k in range(3)]
    # 3.5 Mbit/s are left over; they are lent in proportion to the quanta, that is to the rates, 2 : 6 : 1
    assert rates == pytest.approx([1e6 + 3.5e6 * 2 / 9, 3e6 + 3.5e6 * 6 / 9, 0.5e6 + 3.5e6 / 9], rel=0.05)
    assert isinstance(link.qdisc, Htb)
    assert link.qdisc.overlimits > 100
    # alone, a class gets its ceil
    rows, _ = run({"kind": "htb", "classes": classes, "filters": filters}, [{**FLOOD, "mark": 2}])
    assert share(rows, 2, 10) == pytest.approx(2e6, rel=0.01)
    # prio decides who gets the excess
    classes["a"]["prio"] = 1
    classes["b"]["ceil"] = "20Mbit"
    rows, _ = run({"kind": "htb", "classes": classes, "filters": filters}, [dict(FLOOD), {**FLOOD, "source": "10.0.1.2", "mark": 1}])
    assert share(rows, 0, 10) == pytest.approx(1e6, rel=0.05)
    assert share(rows, 1, 10) == pytest.approx(7e6, rel=0.02)


def test_htb_unclassified_passes_unshaped_and_default_takes_it() -> None:
    classes = {"a": {"rate": "1Mbit"}}
    rows, _ = run({"kind": "htb", "classes": classes}, [{"rate": 500, "size": 1000}])
    assert share(rows, 0, 10) == pytest.approx(4e6, rel=0.1)
    rows, _ = run({"kind": "htb", "classes": classes, "default": "a"}, [{"rate": 500, "size": 1000}])
    assert share(rows, 0, 10) == pytest.approx(1e6, rel=0.01)


def test_drr_shares_by_quantum_whatever_the_sizes() -> None:
    spec = {"kind": "drr", "classes": {"a": {"quantum": 1500}, "b": {"quantum": 3000}}, "filters": [{"class": "a", "mark": 0}],
            "default": "b"}
    rows, _ = run(spec, [{"rate": 4000, "size": 500}, {"rate": 2000, "size": 1500}])
    assert share(rows, 1, 10) / share(rows, 0, 10) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("kind", ["sfq", "fq_codel"])
def test_fair_queueing_isolates_a_thin_flow(kind: str) -> None:
    rows, _ = run(kind, [{**FLOOD, "rate": 5000}, {"rate": 50, "size": 100, "source_port": 7}])
    thin = rows[rows[:, 2] == 1]
    assert len(thin) > 450
    assert thin[:, 3].max() < 0.006         # a few frames of the fat flow, not its queue
    assert np.median(rows[rows[:, 2] == 0][:, 3]) > 0.02 if kind == "sfq" else True


def test_drop_tail_does_not_isolate() -> None:
    rows, _ = run("pfifo", [{**FLOOD, "rate": 5000}, {"rate": 50, "size": 100}])
    assert rows[rows[:, 2] == 1][:, 3].mean() > 0.3


def test_codel_holds_the_delay_of_what_yields() -> None:
    """Under a slight overload CoDel's drops bring the sojourn time down to the order of target; drop-tail's fills up."""
    rows, link = run("codel", [{"rate": 1300, "size": 1000}], until=60)
    late = rows[rows[:, 0] > 30]
    assert np.median(late[:, 3]) < 0.03
    assert link.dropped > 500
    rows, _ = run("pfifo", [{"rate": 1300, "size": 1000}], until=60)
    assert np.median(rows[rows[:, 0] > 30][:, 3]) > 0.7


def test_pie_holds_its_target() -> None:
    rows, link = run("pie", [{"rate": 1400, "size": 1000}], until=60)
    late = rows[rows[:, 0] > 30]
    assert late[:, 3].mean() == pytest.approx(0.015, abs=0.006)
    assert link.dropped / (link.dropped + link.packets) == pytest.approx(1 - 1250 / 1400, abs=0.02)


def test_red_drops_between_its_thresholds() -> None:
    spec = {"kind": "red", "limit": 400_000, "min": 30_000, "max": 90_000, "probability": 0.1, "bandwidth": "10Mbit"}
    rows, link = run(spec, [{"rate": 1320, "size": 1000}], until=60)
    assert link.dropped / (link.dropped + link.packets) == pytest.approx(1 - 1250 / 1320, abs=0.015)
    delay = rows[rows[:, 0] > 30][:, 3].mean()
    assert 30_000 * 8 / 10e6 < delay < 90_000 * 8 / 10e6
    assert ewma_weight(20, 5) in [2.0**-k for k in range(1, 32)]


@pytest.mark.parametrize("spec", [{"kind": "codel", "ecn": True}, "fq_codel", {"kind": "pie", "ecn": True},
                                  {"kind": "red", "limit": 400_000, "min": 30_000, "max": 90_000, "ecn": True}])
def test_ecn_marks_instead_of_dropping(spec: Any) -> None:
    _, link = run(spec, [{"rate": 1300, "size": 1000, "tos": 2}], until=5)
    assert link.qdisc is not None
    assert link.qdisc.marked > 10
    _, link = run(spec, [{"rate": 1300, "size": 1000}], until=5)
    assert link.qdisc is not None
    assert link.qdisc.marked == 0
    assert link.dropped > 10


def test_prio_goes_by_tos() -> None:
    """Priomap: TOS 0x10 (interactive) goes to band 0, 0 to band 1, 0x08 (bulk) to band 2."""
    rows, _ = run("prio", [{"rate": 300, "size": 1000, "tos": 0x10}, {"rate": 600, "size": 1000}, {"rate": 600, "size": 1000, "tos": 8}])
    delays = [rows[rows[:, 2] == k][:, 3].mean() for k in range(3)]
    assert delays[0] < 0.002
    assert delays[1] < 0.01
    assert delays[2] > 0.1


@pytest.mark.parametrize(("spec", "message"), [
    ("nosuch", "kind: 'nosuch' is no qdisc, expected one of pfifo, bfifo"),
    ({"kind": "tbf", "rate": "1Mbit"}, "tbf: .*burst"),
    ({"kind": "tbf", "rate": "1Mbit", "burst": "10k"}, "either limit"),
    ({"kind": "codel", "target": "1 parsec"}, "codel: target: .*not a time"),
    ({"kind": "codel", "flows": 3}, "codel: flows: unknown, expected limit, target"),
    ({"kind": "htb", "classes": {"a": {"rate": "1Mbit", "parent": "z"}}}, "parent 'z' is no other class"),
    ({"kind": "htb", "classes": {"a": {"rate": "1Mbit", "parent": "b"}, "b": {"rate": 1, "parent": "a"}}}, "htb"),
    ({"kind": "drr", "classes": {"a": {}}, "filters": [{"class": "b"}]}, "class 'b' does not exist"),
    ({"kind": "red", "limit": 1000, "min": 900, "max": 800}, "min < max"),
    ({"kind": "prio", "priomap": [1]}, "priomap"),
    ({"kind": "pfifo", "limit": 0}, "at least 1"),
    ({"kind": "fq_codel", "flows": 0}, "flows"),
    ({"kind": "prio", "filters": [{"class": 0, "dscp": "xx"}]}, "filter: dscp: 'xx': expected a number from 0 to 63, or one of cs0"),
    ({"kind": "prio", "filters": [{"class": 0, "mark": "-1/3"}]}, "filter: mark: '-1': expected a number from 0 to 4294967295"),
    ({"kind": "prio", "filters": [{"class": 0, "src": "10.0.0.1/8"}]}, "filter: src: '10.0.0.1/8' is no address or network"),
    ({"kind": "prio", "filters": 7}, "prio: filters: expected a list of mappings"),
    ({"kind": "htb", "classes": [1]}, "htb: classes: expected a mapping of names to classes"),
    ([1], r"\[1\] is no qdisc, expected a kind or a mapping with one"),
])
def test_bad_descriptions_say_what_is_wrong(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(spec, Streams(0)["q"])


def test_every_kind_conserves_frames() -> None:
    """Taken = sent + dropped + held, in packets and bytes, for every qdisc under random load."""
    special: dict[str, Any] = {
        "tbf": {"rate": "5Mbit", "burst": 3000, "limit": "50k"}, "red": {"limit": 60_000},
        "htb": {"classes": {"a": {"rate": "1Mbit"}, "b": {"rate": "2Mbit", "qdisc": "codel"}}, "filters": [{"class": "a", "mark": 0}],
                "default": "b"},
        "drr": {"classes": {"a": {}, "b": {"qdisc": "fq_codel"}}, "filters": [{"class": "a", "mark": 0}], "default": "b"},
        "prio": {"bands": ["pfifo", {"kind": "tbf", "rate": "1Mbit", "burst": 2000, "limit": 20_000}, "sfq"]},
    }
    for kind in PARAMETERS:
        env, streams = Environment(), Streams(3)
        sink = FrameSink(env, "sink")
        link = Link(env, "queue", sink, 0, 8e6, 1e-3, qdisc=build({"kind": kind, **special.get(kind, {})}, streams["q"]))
        sources = [FrameSource(env, f"s{i}", 900, 600 + 300 * i, streams[f"s{i}"], mark=i, source=f"10.1.0.{i + 1}", tos=4 * i, stop=3)
                   for i in range(3)]
        for s in sources:
            plug(s, 0, link)
        for until in (1.0, 2.0, 3.0):
            env.run(until=until)
            assert sum(s.sent for s in sources) == sink.packets + link.dropped + link.in_flight, kind
        env.run()
        assert link.qdisc is not None
        assert (link.in_flight, link.qdisc.packets, link.qdisc.bytes) == (0, 0, 0), kind
        assert sum(s.sent for s in sources) == sink.packets + link.dropped, kind


def test_classes_by_the_mark_that_a_rule_set() -> None:
    """iptables marks what comes from one container; HTB gives that class a tenth of the link."""
    world = World(Compose.model_validate({"services": {"a": {}, "b": {}}, "x-simcore": {
        "duration": "20s", "servers": {"web": {"address": "93.184.216.34"}},
        "host": {"iptables": ["-t mangle -A FORWARD -s 172.17.0.2 -j MARK --set-xmark 0x7/0xffffffff"]},
        "links": {"host": {"rate": "1Gbit", "latency": "1ms", "qdisc": {
            "kind": "htb", "classes": {"slow": {"rate": "1Mbit"}, "fast": {"rate": "9Mbit"}}, "filters": [{"class": "slow", "mark": 7}],
            "default": "fast"}}, "server": {"latency": "5ms"}},
        "workloads": [{"kind": "bulk", "from": c, "to": "web", "port": 9000, "stop": "20s"} for c in "ab"]}}))
    world.run()
    htb = world.link("host/eth0").qdisc
    assert isinstance(htb, Htb)
    assert [htb.classes[c].sent * 8 / 20 for c in ("slow", "fast")] == pytest.approx([1e6, 9e6], rel=0.03)
