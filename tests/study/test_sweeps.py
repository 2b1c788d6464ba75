"""Many runs: intervals that cover, sweeps that find theory, plans that find a known capacity, and the same anywhere."""
from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dask.distributed import LocalCluster

from simcore.docker.compose import load
from simcore.docker.settings import changed
from simcore.errors import ScenarioError
from simcore.study import metrics
from simcore.study.compare import Verdict, compare
from simcore.study.plan import Limit, Range, plan
from simcore.study.printing import with_interval
from simcore.study.scenario import World
from simcore.study.statistics import estimate
from simcore.study.sweep import parse_vary, sweep

PACKET = 1000
"""Bytes on the wire."""


def scenario(directory: Path, pattern: str = "poisson", rate: float = 500.0, duration: float = 20.0, queue: int = 100_000) -> Path:
    """Datagrams through one link of 8 Mbit/s: a millisecond of service each."""
    path = directory / "one-queue.yaml"
    path.write_text(yaml.safe_dump({
        "services": {"app": {}}, "x-simcore": {
            "duration": duration, "seed": 3, "servers": {"sink": {"address": "93.184.216.34"}},
            "links": {"server": {"rate": "8Mbit", "queue": queue}},
            "workloads": [{"kind": "udp", "from": "app", "to": "sink", "port": 9, "rate": rate, "size": PACKET, "pattern": pattern,
                           "start": 1}]}}))
    return path


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """A Dask scheduler that is there, with one worker of two threads."""
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", memory_limit=0) as cluster:
        yield cluster.scheduler_address


def test_intervals_cover() -> None:
    rng = np.random.default_rng(1)
    covered = sum((e := estimate(list(rng.normal(7.0, 2.0, 5)), 0.9)).low <= 7.0 <= e.high for _ in range(2000))
    assert abs(covered / 2000 - 0.9) < 4 * math.sqrt(0.9 * 0.1 / 2000)
    known = estimate([1.0, 2.0, 3.0, 4.0])                  # t(0.975, 3) = 3.182446
    assert known.half == pytest.approx(3.182446 * math.sqrt(5 / 3 / 4), rel=1e-6)
    assert estimate([5.0, 5.0]).half == 0.0
    assert estimate([5.0]).half == math.inf
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_a_sweep_finds_theory_and_says_how_sure_it_is(tmp_path: Path, scheduler: str) -> None:
    """M/D/1: the mean wait is rho / (2 (1 - rho)) services (Pollaczek, Khinchin)."""
    results = sweep(scenario(tmp_path, duration=60.0), {"workloads.0.rate": [300, 600, 800]}, runs=8, level=0.99, scheduler=scheduler)
    for i, rho in enumerate((0.3, 0.6, 0.8)):
        wait = results.estimate(i, "links.router/eth1.mean_wait_us")
        assert wait is not None
        assert wait.n == 8
        assert wait.low < rho / (2 * (1 - rho)) * 1000 < wait.high
        assert wait.half < 0.2 * wait.mean
    rows = results.frame()
    assert len(rows) == 24
    assert set(rows["seed"]) == set(range(3, 11))
    assert len({*rows["links.router/eth1.packets"]}) == 24          # every run drew its own arrivals


def test_results_do_not_depend_on_where_they_are_made(tmp_path: Path, scheduler: str) -> None:
    path, vary = scenario(tmp_path, duration=3.0), {"workloads.0.rate": [500, 900], "links.server.queue": [5, 50]}
    there = sweep(path, vary, runs=2, scheduler=scheduler).as_json()
    assert there == sweep(path, vary, runs=2, workers=2).as_json()
    assert [tuple(p["settings"].values()) for p in there["points"]] == [(500, 5), (500, 50), (900, 5), (900, 50)]
    world = World(load(path, settings={"workloads.0.rate": 900, "links.server.queue": 5}), 4)       # and are those of a run by itself
    world.run()
    summary = world.summary()
    point = sweep(path, {"workloads.0.rate": [900]}, settings={"links.server.queue": 5}, runs=2, scheduler=scheduler)
    assert point.points[0].runs[4].metrics == metrics.metrics(summary)
    assert summary["links"]["router/eth1"]["dropped"] > 0
    assert {f["what"]: runs for f, runs in point.findings(0)} == {"queue-overflow": 2, "datagrams-lost": 2}


def test_a_plan_finds_the_capacity_of_a_link(tmp_path: Path, scheduler: str) -> None:
    """A constant stream is lost from where it is more than the link carries: 1000 packets/s; and the other way round."""
    path = scenario(tmp_path, "constant", queue=10)
    limit = [Limit.parse("workloads.0.loss<=0.5%")]
    found = plan(path, "workloads.0.rate", Range.parse("100..10000"), limit, runs=2, tolerance=0.01, scheduler=scheduler)
    assert found.good is not None
    assert found.bad is not None
    good, bad = found.good.settings["workloads.0.rate"], found.bad.settings["workloads.0.rate"]
    assert good < 1006 < bad * 1.001            # half a percent more may be lost
    assert bad / good <= 1.011
    assert found.answer().startswith(f"workloads.0.rate = {good} is the most for which workloads.0.loss ≤ 0.5%; at {bad} ")
    assert found.results.findings(found.number(found.bad))[0][0]["place"] == "router/eth1"
    least = plan(path, "links.server.rate", Range.parse("1Mbit..100Mbit"), limit, runs=1, most_runs=1, tolerance=0.01, scheduler=scheduler)
    assert least.good is not None
    assert "is the least for which" in least.answer()
    assert 3.9e6 < float(least.good.settings["links.server.rate"].removesuffix("Mbit")) * 1e6 < 4.1e6     # 500 packets/s
    nowhere = plan(path, "workloads.0.rate", Range.parse("2000..3000"), limit, runs=1, most_runs=1, scheduler=scheduler)
    assert nowhere.answer() == "workloads.0.rate: workloads.0.loss ≤ 0.5% holds neither at 2000 nor at 3000"
    with pytest.raises(ScenarioError, match=r"workloads.0.los: no such metric; expected one of .*workloads.0.loss"):
        plan(path, "workloads.0.rate", Range.parse("1..9"), [Limit.parse("workloads.0.los<=1")], runs=1, scheduler=scheduler)


def test_a_near_thing_gets_more_runs_and_is_called_one(tmp_path: Path, scheduler: str) -> None:
    found = plan(scenario(tmp_path, duration=3.0), "workloads.0.rate", Range.parse("100..990"),
                 [Limit.parse("links.router/eth1.mean_wait_us<=1ms")], runs=3, most_runs=9, scheduler=scheduler)
    assert found.undecided
    assert all(len(p.runs) == 9 for p in found.undecided)
    assert all(len(p.runs) in (3, 6, 9) for p in found.results.points)
    assert "95% sure: kept at" in found.answer()
    rates = [p.settings["workloads.0.rate"] for p in found.results.points]
    assert rates == sorted(rates)
    assert found.good is not None
    assert 600 < found.good.settings["workloads.0.rate"] < 720       # M/D/1: 667


def test_a_comparison_sees_what_chance_would_hide(tmp_path: Path, scheduler: str) -> None:
    """Both draw the same arrivals: the differences vary less than the waits do, and theory's (M/D/1) is in their interval."""
    path = scenario(tmp_path, rate=800.0, duration=30.0)
    found = compare(path, settings={"links.server.rate": "8.4Mbit"}, runs=6, scheduler=scheduler)
    wait = "links.router/eth1.mean_wait_us"
    before, after, difference = found.results.estimate(0, wait), found.results.estimate(1, wait), found.difference(wait)
    assert before is not None
    assert after is not None
    assert difference is not None
    theory = [rho / (2 * (1 - rho)) * 1000 * rho / 0.8 for rho in (0.8, 0.8 / 1.05)]
    assert difference.low < theory[1] - theory[0] < difference.high
    assert difference.half < 0.6 * math.hypot(before.half, after.half)
    assert found.verdict(wait) is Verdict.better
    assert found.verdict("workloads.0.sent") is Verdict.same
    assert found.verdict("links.router/eth1.utilisation") is Verdict.less
    assert found.after.endswith("one-queue.yaml with links.server.rate = 8.4Mbit")
    nothing = compare(path, path, runs=2, scheduler=scheduler)          # the same against itself
    assert {nothing.verdict(m) for m in nothing.results.metrics()} == {Verdict.same}
    assert nothing.answer() == "no difference seen"
    with pytest.raises(ScenarioError, match="nothing to compare it with: expected another file, --override or --set"):
        compare(path, runs=2, scheduler=scheduler)


def test_a_comparison_says_what_is_gone_and_what_is_new(tmp_path: Path, scheduler: str) -> None:
    path = scenario(tmp_path, duration=3.0, rate=900.0, queue=3)
    found = compare(path, settings={"links.server.queue": 1000, "links.host.loss": "5%"}, runs=3, scheduler=scheduler)
    assert {kind: [f["what"] for f, _ in group] for kind, group in found.findings().items()} == {
        "gone": ["queue-overflow"], "new": ["loss"], "still": ["datagrams-lost"]}
    assert found.verdict("links.router/eth1.drop_share") is Verdict.better
    assert found.verdict("workloads.0.mean_delay_s") is Verdict.worse
    assert "worse: udp app → sink:9: mean delay (" in found.answer()
    told = found.as_json()
    assert told["differences"]["links.router/eth1.drop_share"]["relative"] == -1
    assert [p["settings"] for p in told["points"]] == [{"scenario": "before"}, {"scenario": "after"}]


@pytest.mark.parametrize(("text", "message"), [
    ("10", "--over 10: expected LOW..HIGH"), ("9..3", "the lower value first"), ("1Mbit..2Gbit", "in one unit"), ("a..b", "expected")])
def test_ranges_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        Range.parse(text)


def test_values_with_units() -> None:
    assert Limit.parse("workloads.0.response_s.p99 <= 50ms") == Limit("workloads.0.response_s.p99", True, 0.05)
    assert Limit.parse("workloads.0.goodput_bps>=5Mbit") == Limit("workloads.0.goodput_bps", False, 5e6)
    assert Limit.parse("links.router/eth1.mean_wait_us<=2ms").value == 2000.0
    assert Limit.parse("links.router/eth1.mean_wait_us<=150").value == 150.0
    assert Limit.parse("workloads.0.loss<1%").value == 0.01
    assert Limit.parse("drops.host.neighbour queue full<=0") == Limit("drops.host.neighbour queue full", True, 0.0)
    for bad in ("x=1", "x<=fast", "<=1"):
        with pytest.raises(ScenarioError, match="expected METRIC"):
            Limit.parse(bad)
    assert parse_vary("links.host.qdisc=pie,{kind: red, limit: 100}") == ("links.host.qdisc", ["pie", {"kind": "red", "limit": 100}])
    assert metrics.written("links.a/b.mean_wait_us", 1500.0) == "1.5 ms"
    assert metrics.written("workloads.0.goodput_bps", 9.5e6) == "9.5 Mbit/s"
    assert with_interval("workloads.0.response_s.p99", estimate([0.101, 0.103, 0.102])) == "102.0 ± 2.5 ms"


def test_settings_reach_everything_and_change_nothing_else() -> None:
    data = {"services": {"a": None}, "x-simcore": {"workloads": [{"rate": 1}, {"rate": 2}]}}
    assert changed(data, {"workloads.1.rate": 5})["x-simcore"]["workloads"] == [{"rate": 1}, {"rate": 5}]
    assert changed(data, {"services.a.sysctls.net.ipv4.tcp_ecn": 1})["services"] == {"a": {"sysctls": {"net.ipv4.tcp_ecn": 1}}}
    assert data == {"services": {"a": None}, "x-simcore": {"workloads": [{"rate": 1}, {"rate": 2}]}}
    for key, message in (("workloads.2.rate", "no item '2' in a list of 2"), ("workloads.0.rate.x", "1 has no key 'x'"),
                         ("a..b", "is no key")):
        with pytest.raises(ValueError, match=message):
            changed(data, {key: 1})


def test_metrics_are_paths_into_the_summary() -> None:
    found = metrics.metrics({"workloads": [
        {"kind": "ping", "rtt_s": [0.1, None, 0.3]}, {"kind": "http", "requests": [
            {"error": "", "total_time": 1.0, "status": 200}, {"error": "ECONNREFUSED", "total_time": 9.0, "status": 0}]},
        {"kind": "load", "response_s": {"count": 2, "p99": 0.5}}], "conntrack": ["tcp 6"], "partial": False,
        "cpu": {"utilisation": [0.25, 0.75], "cores": [{"packets": 3}]}})
    assert found == {
        "workloads.0.rtt_s.mean": 0.2, "workloads.0.rtt_s.max": 0.3, "workloads.0.rtt_s.lost_share": 1 / 3,
        "workloads.1.requests.failed_share": 0.5, "workloads.1.requests.total_time.mean": 1.0, "workloads.1.requests.total_time.max": 1.0,
        "workloads.1.requests.status.mean": 200.0, "workloads.1.requests.status.max": 200.0,
        "workloads.2.response_s.count": 2.0, "workloads.2.response_s.p99": 0.5,
        "cpu.utilisation.mean": 0.5, "cpu.utilisation.max": 0.75, "cpu.cores.0.packets": 3.0}


def test_a_python_scenario_takes_what_is_varied_as_arguments(tmp_path: Path, scheduler: str) -> None:
    path = tmp_path / "scenario.py"
    path.write_text(f"from simcore.docker.compose import load\nfrom simcore.study.scenario import World\n"
                    f"def build(seed, engine, rate=100):\n"
                    f"    return World(load({str(scenario(tmp_path))!r}, settings={{'workloads.0.rate': rate}}), seed, engine)\n")
    results = sweep(path, {"rate": [100, 200]}, runs=2, duration=5.0, scheduler=scheduler)
    means = [results.estimate(i, "workloads.0.sent") for i in range(2)]
    assert [round(e.mean, -2) for e in means if e] == [400, 800]
    with pytest.raises(ScenarioError, match=r"build\(\) has no argument 'speed', expected one of: rate"):
        sweep(path, {"speed": [1]}, runs=1, scheduler=scheduler)


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Workers do not import the script that started them: it would start workers."""
    script = tmp_path / "script.py"
    script.write_text(f"from simcore.study.sweep import sweep\nprint(sweep({str(scenario(tmp_path, duration=2.0))!r}, runs=2).partial)\n")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def simcore(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "simcore.cli", *map(str, arguments)], capture_output=True, text=True, timeout=120)


def test_commands_write_tables_and_pages(tmp_path: Path) -> None:
    path, out = scenario(tmp_path, duration=3.0), tmp_path / "out"
    done = simcore("sweep", path, "--vary", "workloads.0.rate=500,900", "--runs", "2", "--set", "links.server.queue=5", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "workloads.0.rate" in done.stdout
    assert "router/eth1 dropped" in done.stdout
    results = json.loads((out / "results.json").read_text())
    assert [p["settings"] for p in results["points"]] == [{"workloads.0.rate": 500}, {"workloads.0.rate": 900}]
    loss = results["points"][1]["metrics"]["workloads.0.loss"]
    assert 0 < loss["low"] < loss["mean"] < loss["high"] < 0.2
    rows = list(csv.DictReader((out / "runs.csv").open()))
    assert [(r["workloads.0.rate"], r["seed"]) for r in rows] == [("500", "3"), ("500", "4"), ("900", "3"), ("900", "4")]
    assert float(rows[2]["workloads.0.loss"]) + float(rows[3]["workloads.0.loss"]) == pytest.approx(2 * loss["mean"])
    page = (out / "report.html").read_text()
    assert page.count("<svg") == len(results["headlines"])
    assert "router/eth1 dropped" in page

    done = simcore("plan", path, "--vary", "workloads.0.rate", "--over", "400..900", "--limit", "workloads.0.loss<=1%", "--runs", "2",
                   "--most-runs", "2", "--tolerance", "0.1", "--set", "links.server.queue=5", "--out", out, "--json")
    assert done.returncode == 0
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["value"] < answer["beyond"] <= answer["value"] + 50
    assert answer == json.loads((out / "results.json").read_text())
    assert answer["answer"].replace("≤", "&le;") in (out / "report.html").read_text().replace("≤", "&le;")

    cure = tmp_path / "cure.yaml"
    cure.write_text("x-simcore: {links: {server: {queue: 100}}}")
    done = simcore("compare", path, "--override", cure, "--set", "links.server.rate=6Mbit", "--runs", "3", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"│udp app → sink:9: mean delay +│ .*s │ .*s │ \+.*s │ .*% │ worse", done.stdout)
    answer = json.loads((out / "results.json").read_text())
    assert answer["answer"] in done.stdout
    assert answer["after"] == f"{path} with {cure}, links.server.rate = 6Mbit"
    assert answer["differences"]["workloads.0.mean_delay_s"]["verdict"] == "worse"
    assert [r["scenario"] for r in csv.DictReader((out / "runs.csv").open())] == ["before"] * 3 + ["after"] * 3
    assert (out / "report.html").read_text().count("<svg") == 2

    done = simcore("run", path, "--report", "--no-capture", "--out", out)
    assert done.returncode == 0
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2                  # the network, and over time
    for text in ("93.184.216.34", "docker0", "router/eth1", "share of time sending"):
        assert text in page


@pytest.mark.parametrize(("arguments", "message"), [
    (["sweep", "--vary", "rate"], "--vary rate: expected KEY=VALUE,VALUE,…"),
    (["sweep", "--vary", "links.host.speed=1,2"], "x-simcore.links.host.speed: unknown key"),
    (["sweep", "--vary", "workloads.7.rate=1"], "workloads.7.rate: there is no item '7' in a list of 1"),
    (["compare"], "nothing to compare it with"),
    (["compare", "--set", "links.host.speed=1"], "x-simcore.links.host.speed: unknown key"),
    (["compare", "nowhere.yaml"], "nowhere.yaml: "),
    (["sweep", "--set", "duration"], "--set duration: expected KEY=VALUE"),
    (["sweep", "--runs", "1", "--metric", "links.speed"], "--metric links.speed: no such metric"),
    (["sweep", "--scheduler", "tcp://127.0.0.1:1"], "--scheduler tcp://127.0.0.1:1: "),
    (["plan", "--vary", "workloads.0.rate", "--over", "1", "--limit", "workloads.0.loss<=1%"], "--over 1: expected LOW..HIGH"),
    (["plan", "--vary", "workloads.0.rate", "--over", "1..2", "--limit", "loss"], "--limit loss: expected METRIC<=VALUE"),
])
def test_what_is_wrong_is_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = simcore(arguments[0], scenario(tmp_path, duration=1.0), *arguments[1:], "--out", tmp_path / "out")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "out").exists() == ("--metric" in arguments)         # what was measured is kept


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    path = scenario(tmp_path, duration=600.0, rate=900)
    process = subprocess.Popen([sys.executable, "-m", "simcore.cli", "sweep", str(path), "--runs", "500", "--out", str(tmp_path / "out")],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    first = process.stderr.readline()               # progress: some runs are over
    assert "of 500 runs" in first
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)           # as a terminal does: to the workers, too
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "simcore: stopped by Ctrl-C; the results are partial"
    assert "Traceback" not in rest
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["partial"]
    assert 0 < len(results["points"][0]["seeds"]) < 500
