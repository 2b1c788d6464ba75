"""The command `simcore`."""
from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from natfast.errors import NatfastError
from simcore.docker import compose
from simcore.docker.suggest import as_text, in_words, suggest
from simcore.docker.workloads import Repeated
from simcore.errors import ScenarioError, SimcoreError
from simcore.files import write_json, write_text
from simcore.measure.report import print_run
from simcore.measure.trace import Tracer
from simcore.study import bench as benchmarks
from simcore.study import html, kernel
from simcore.study.compare import compare as make_comparison
from simcore.study.emulate import Emulation
from simcore.study.plan import Limit, Range, similar
from simcore.study.plan import plan as make_plan
from simcore.study.printing import print_comparison, print_plan, print_reach, print_sweep
from simcore.study.reach import reach as ask_everywhere
from simcore.study.scenario import World, write_flows
from simcore.study.source import make_world, source
from simcore.study.sweep import Results, parse_set, parse_vary
from simcore.study.sweep import sweep as make_sweep

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
                  help="Simulate container networks packet by packet, as Linux forwards them.")
PLAIN_WIDTH = 200
"""Columns where output goes to a file or a pipe."""
SAMPLE = 0.1
"""Seconds from sample to sample where nobody knows how long a run will take."""
TRACED_PACKETS = 2000
"""A run is followed hop by hop unless it has more workload packets than a reader would want."""


class Engine(str, Enum):
    """Who drives the packet events."""

    compiled = "compiled"
    simpy = "simpy"


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def _check(out: Path) -> None:
    """Before long work: what can be known of where its results shall go."""
    html.available()
    if out.exists() and not out.is_dir():
        raise ScenarioError(f"--out {out}: expected a directory")


def _directory(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScenarioError(f"--out {out}: {error.strerror}") from None
    return out


File = Annotated[Path, typer.Argument(help="A Compose file (with x-simcore) or a Python scenario.", metavar="FILE")]
Override = Annotated[list[Path] | None, typer.Option(help="Compose file merged over FILE (repeatable).")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A value instead of the file's (repeatable).")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed instead of the file's.")]
FirstSeed = Annotated[int | None, typer.Option(min=0, help="Seed of the first run instead of the file's; the others count on.")]
Duration = Annotated[float | None, typer.Option(min=0, help="Seconds to simulate instead of the file's.")]
Driver = Annotated[Engine, typer.Option(help="Who drives packet events; the results are the same.")]
Runs = Annotated[int, typer.Option(min=1, help="Runs with different seeds, at each value.")]
Level = Annotated[float, typer.Option(min=0.5, max=0.999, help="Confidence level of the intervals.")]
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler that is there, as tcp://10.0.0.5:8786.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes, if there is no scheduler: one a core.")]
Metric = Annotated[list[str] | None, typer.Option(help="What to tabulate, by its path in summary.json (repeatable).")]
ResultsOut = Annotated[Path, typer.Option(help="Directory for report.html, runs.csv, results.csv and results.json.")]
ResultsJson = Annotated[bool, typer.Option("--json", help="Print the results as one JSON object.")]


@app.command(epilog="Examples:  simcore run compose.yaml   |   simcore run compose.yaml --json --seed 7   |   "
             "simcore run compose.yaml --pcap out.pcapng --engine simpy")
def run(file: File, override: Override = None, settings: Set = None,
        out: Annotated[Path, typer.Option(help="Directory for summary.json and packets.pcapng.")] = Path("out"),
        pcap: Annotated[Path | None, typer.Option(help="Capture file (pcapng) instead of OUT/packets.pcapng.")] = None,
        seed: Seed = None, duration: Duration = None, engine: Driver = Engine.compiled,
        as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
        expression: Annotated[str | None, typer.Option("--filter", help="Capture only what this tcpdump expression passes.")] = None,
        snaplen: Annotated[int, typer.Option(min=0, help="Bytes captured of a frame, 0 for all.")] = 0,
        interface: Annotated[list[str] | None, typer.Option(help="Capture only here (repeatable), as host/eth0.")] = None,
        flows: Annotated[bool, typer.Option("--flows", help="Record every flow: loss, delay, jitter; also in OUT/flows.csv.")] = False,
        sample: Annotated[float | None, typer.Option(min=1e-6, help="Sample queues and conntrack (s), into OUT/series.csv.")] = None,
        waits: Annotated[bool, typer.Option("--waits", help="Distribution of waiting times at every link.")] = False,
        report: Annotated[bool, typer.Option("--report", help="Draw what happened, into OUT/report.html.")] = False,
        trace: Annotated[bool, typer.Option("--trace/--no-trace", help="Follow packets hop by hop.")] = True,
        capture: Annotated[bool, typer.Option("--capture/--no-capture", help="Write the capture.")] = True) -> None:
    """Simulate a Compose file (or a Python scenario) and explain what happened."""
    if report:
        html.available()
    world = make_world(source(file, override or (), dict(map(parse_set, settings or ())), duration), seed, engine.value)
    target = pcap or out / "packets.pcapng"
    _directory(out)
    if capture:
        _capture(world, target, expression, snaplen, interface or ())
    _say(file, world.notes)
    if not world.compose.x.workloads:
        _say(file, ["x-simcore.workloads: there are none, so nothing is sent"])
    tracer = world.trace() if trace and not as_json and not _heavy(world) else None
    if flows:
        world.record_flows()
    if waits:
        world.measure_waits()
    end = duration if duration is not None else world.compose.x.duration
    if sample is not None:
        world.sample(sample)
    elif report and end:
        world.sample(end / html.SAMPLES)
    world.run(duration, progress=True)
    _sum_up(world, file, out, [target] if capture else [], report, as_json, tracer)


def _capture(world: World, target: Path, expression: str | None = None, snaplen: int = 0, interfaces: Sequence[str] = ()) -> None:
    if not target.parent.is_dir():
        raise ScenarioError(f"--pcap {target}: no such directory")
    world.capture(target, expression, snaplen, interfaces)


def _say(file: Path, notes: Sequence[str]) -> None:
    for note in notes:
        print(f"simcore: {file}: {note}", file=sys.stderr)


def _sum_up(world: World, file: Path, out: Path, written: Sequence[Path], report: bool, as_json: bool, tracer: Tracer | None = None,
            **more: Any) -> None:
    """Write what a run came to, besides what is written already, and show it; exit if it was stopped."""
    summary = {**world.summary(), **more}
    if world.flows is not None:
        write_flows(out / "flows.csv", summary["flows"])
    if world.sampler is not None:
        world.sampler.write(out / "series.csv")
    if report:
        html.write_run(out / "report.html", str(file), world, summary)
    write_json(out / "summary.json", summary)
    if as_json:
        print(json.dumps(summary))
    else:
        console = _console()
        print_run(console, summary, tracer.packets() if tracer else None)
        written = [out / "summary.json", *written, *([out / "flows.csv"] if world.flows is not None else []),
                   *([out / "series.csv"] if world.sampler is not None else []), *([out / "report.html"] if report else [])]
        console.print("results     " + ", ".join(map(str, written)), soft_wrap=True)
    if world.partial:
        print(f"simcore: stopped at {world.env.now:.6g} s by Ctrl-C; the results are partial", file=sys.stderr)
        raise typer.Exit(130)


def _heavy(world: World) -> bool:
    return any(not isinstance(w, Repeated) or (w.count or 0) > TRACED_PACKETS or w.count is None and w.stop is not None
               for w in world.compose.x.workloads)


@app.command(epilog="Examples:  simcore emulate compose.yaml --real worker -- curl -s http://93.184.216.34/   |   "
             "simcore emulate compose.yaml --real web --real api   (then, elsewhere: ip netns exec web nginx)   |   "
             "docker run -d --network none --name web nginx; simcore emulate compose.yaml "
             "--real web=$(docker inspect -f '{{.State.Pid}}' web)")
def emulate(file: File,
            real: Annotated[list[str], typer.Option(metavar="NAME[=PID]", help="A service or server to be real (repeatable): a namespace "
                                                    "of its own, or that of a process.")],
            command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What to run in the first of them; when "
                                                                "it ends, so does the simulation, with its exit status.")] = None,
            override: Override = None, settings: Set = None,
            out: Annotated[Path, typer.Option(help="Directory for summary.json and packets.pcapng.")] = Path("out"),
            pcap: Annotated[Path | None, typer.Option(help="Capture file (pcapng) instead of OUT/packets.pcapng.")] = None,
            seed: Seed = None, duration: Duration = None, engine: Driver = Engine.compiled,
            as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
            report: Annotated[bool, typer.Option("--report", help="Draw what happened, into OUT/report.html.")] = False,
            capture: Annotated[bool, typer.Option("--capture/--no-capture", help="Write the capture.")] = True) -> None:
    """Let programs of this machine take part, in real time: services become network namespaces of its kernel (root)."""
    if report:
        html.available()
    world = make_world(source(file, override or (), dict(map(parse_set, settings or ())), duration, suggesting=False), seed, engine.value)
    emulation = Emulation(world, real)
    target = pcap or out / "packets.pcapng"
    _directory(out)
    with emulation:
        if capture:
            _capture(world, target)
        if report:
            world.sample(SAMPLE)
        _say(file, world.notes + emulation.notes)
        if not command:
            print(f"simcore: running; enter with: ip netns exec {emulation.machines[0].name} COMMAND; Ctrl-C ends it", file=sys.stderr)
        status = emulation.run(duration, command or (), progress=not command)
    _sum_up(world, file, out, [target] if capture else [], report, as_json, emulation=emulation.summary())
    raise typer.Exit(status)


@app.command(epilog="Examples:  simcore init compose.yaml   |   simcore init compose.yaml --out traffic.yaml")
def init(file: Annotated[Path, typer.Argument(help="A Compose file.", metavar="FILE")], override: Override = None,
         out: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None) -> None:
    """Make up traffic for a Compose file, as a file to change and to give to run's --override."""
    made = suggest(compose.load(file, override or ()))
    text = as_text(str(file), made)
    if out is None:
        print(text, end="")
        return
    if out.exists():
        raise ScenarioError(f"--out {out}: there is such a file already")
    try:
        write_text(out, text)
    except OSError as error:
        raise ScenarioError(f"--out {out}: {error.strerror}") from None
    print(f"written to {out}: {in_words(made)}")


@app.command(epilog="Examples:  simcore reach compose.yaml   |   simcore reach compose.yaml --json   |   "
             "simcore reach compose.yaml --set x-simcore.host.userland-proxy=false")
def reach(file: Annotated[Path, typer.Argument(help="A Compose file.", metavar="FILE")], override: Override = None, settings: Set = None,
          seed: Seed = None, engine: Driver = Engine.compiled,
          as_json: Annotated[bool, typer.Option("--json", help="Print the answers as one JSON object.")] = False) -> None:
    """Ask for every port from everywhere: who reaches what, by which way and as whom, and which rule stops the others."""
    answers = ask_everywhere(compose.load(file, override or (), dict(map(parse_set, settings or ()))), seed, engine.value, progress=True)
    if as_json:
        print(json.dumps({"answers": [a.as_json() for a in answers]}))
        return
    print_reach(_console(), answers)
    reached = sum(a.outcome == "reached" for a in answers)
    print(f"{reached} of {len(answers)} questions answered")


@app.command(epilog="Examples:  simcore sweep compose.yaml --runs 10   |   "
             "simcore sweep compose.yaml --vary links.server.queue=10,100,1000 --vary workloads.0.users=50,100   |   "
             "simcore sweep compose.yaml --vary links.host.qdisc=fq_codel,pie --metric workloads.1.rtt_s.mean --json")
def sweep(file: File, vary: Annotated[list[str] | None, typer.Option(metavar="KEY=V,V,…", help="Values to try (repeatable: all pairs).")]
          = None, runs: Runs = 5, override: Override = None, settings: Set = None,
          metric: Metric = None,
          out: ResultsOut = Path("out"),
          seed: FirstSeed = None, duration: Duration = None, engine: Driver = Engine.compiled, level: Level = 0.95,
          scheduler: Scheduler = None, workers: Workers = None,
          as_json: ResultsJson = False) -> None:
    """Run a scenario with many seeds, and at many values: means with confidence intervals."""
    _check(out)
    varied = dict(map(parse_vary, vary or ()))
    results = make_sweep(file, varied, runs=runs, seed=seed, duration=duration, engine=engine.value, overrides=override or (),
                         settings=dict(map(parse_set, settings or ())), level=level, scheduler=scheduler, workers=workers, progress=True)
    _deliver(file, out, results, results.as_json, lambda path: html.write_sweep(path, results, metric or ()),
             None if as_json else lambda console: print_sweep(console, results, metric or ()))
    _end_of(results, metric or ())


@app.command(epilog="Examples:  simcore compare compose.yaml --set links.host.qdisc=fq_codel   |   "
             "simcore compare compose.yaml --override cure.yaml --runs 10   |   simcore compare before.yaml after.yaml --json")
def compare(file: File, other: Annotated[Path | None, typer.Argument(help="What to compare it with, if that is another file.",
                                                                     metavar="[OTHER]")] = None,
            override: Annotated[list[Path] | None, typer.Option(help="Compose file merged over what is compared (repeatable).")] = None,
            settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A value that it has instead "
                                                               "(repeatable).")] = None,
            runs: Annotated[int, typer.Option(min=2, help="Runs of each, with different seeds.")] = 5,
            metric: Metric = None,
            out: ResultsOut = Path("out"),
            seed: FirstSeed = None, duration: Duration = None, engine: Driver = Engine.compiled, level: Level = 0.95,
            scheduler: Scheduler = None, workers: Workers = None,
            as_json: ResultsJson = False) -> None:
    """Say what a change does: a scenario without it and with it, with the same seeds, and what differs beyond chance."""
    _check(out)
    found = make_comparison(file, other, runs=runs, seed=seed, duration=duration, engine=engine.value, overrides=override or (),
                            settings=dict(map(parse_set, settings or ())), level=level, scheduler=scheduler, workers=workers, progress=True)
    before, after = (point.source.notes for point in found.results.points)
    _say(other or file, [note for note in after if note not in before])
    _deliver(file, out, found.results, found.as_json, lambda path: html.write_comparison(path, found, metric or ()),
             None if as_json else lambda console: print_comparison(console, found, metric or ()))
    _end_of(found.results, metric or ())


@app.command(epilog="Examples:  simcore plan compose.yaml --vary workloads.0.users --over 1..500 "
             "--limit 'workloads.0.response_s.p99<=50ms'   |   simcore plan compose.yaml --vary links.server.rate --over 1Mbit..100Mbit "
             "--limit 'workloads.0.loss<=1%' --limit 'workloads.0.mean_delay_s<=30ms'")
def plan(file: File, vary: Annotated[str, typer.Option(metavar="KEY", help="What to search in.")],
         over: Annotated[str, typer.Option(metavar="LOW..HIGH", help="Between which values.")],
         limit: Annotated[list[str], typer.Option(metavar="METRIC<=VALUE", help="What must hold (repeatable); also >=.")],
         runs: Runs = 5, most_runs: Annotated[int, typer.Option(min=1, help="Runs at a value where it is a near thing.")] = 20,
         tolerance: Annotated[float, typer.Option(min=1e-6, max=1, help="How close together the two ends are in the end.")] = 0.02,
         override: Override = None, settings: Set = None,
         out: ResultsOut = Path("out"),
         seed: FirstSeed = None, duration: Duration = None, engine: Driver = Engine.compiled, level: Level = 0.95,
         scheduler: Scheduler = None, workers: Workers = None,
         as_json: ResultsJson = False) -> None:
    """Search for the greatest (or least) value for which a scenario keeps within limits, and say what breaks first."""
    _check(out)
    found = make_plan(file, vary, Range.parse(over), [Limit.parse(text) for text in limit], runs=runs, most_runs=most_runs,
                      tolerance=tolerance, seed=seed, duration=duration, engine=engine.value, overrides=override or (),
                      settings=dict(map(parse_set, settings or ())), level=level, scheduler=scheduler, workers=workers, progress=True)
    _deliver(file, out, found.results, found.as_json, lambda path: html.write_plan(path, found),
             None if as_json else lambda console: print_plan(console, found))
    _end_of(found.results)


def _deliver(file: Path, out: Path, results: Results, as_json: Callable[[], dict[str, Any]], page: Callable[[Path], None],
             show: Callable[[Console], None] | None) -> None:
    """Write what many runs came to, and show it; as JSON if there is no way to show it."""
    if not any(p.runs for p in results.points):
        print("simcore: stopped by Ctrl-C before any run was over", file=sys.stderr)
        raise typer.Exit(130)
    _say(file, results.points[0].source.notes)
    whole = as_json()
    written = [*results.write(_directory(out), whole), out / "report.html"]
    page(written[-1])
    if show is None:
        print(json.dumps(whole))
        return
    console = _console()
    show(console)
    console.print("results     " + ", ".join(map(str, written)), soft_wrap=True)


def _end_of(results: Results, metrics: Sequence[str] = ()) -> None:
    """After what was measured is written: what was asked for and not there, or that it was stopped."""
    known = results.metrics()
    for name in metrics:
        if name not in known:
            raise ScenarioError(f"--metric {name}: no such metric; {similar(name, known)}")
    if results.partial:
        print("simcore: stopped by Ctrl-C; the results are partial", file=sys.stderr)
        raise typer.Exit(130)


@app.command(epilog="Example:  simcore replay --box box.json --conntrack case1.jsonl case2.jsonl")
def replay(cases: Annotated[list[Path], typer.Argument(help="Recorded cases.", metavar="CASE.jsonl...")],
           box: Annotated[Path, typer.Option(help="The host that they were recorded on.")],
           conntrack: Annotated[bool, typer.Option(help="Compare the conntrack table after every step, too.")] = False) -> None:
    """Drive one host with recorded frames and compare with what the kernel did."""
    from simcore.replay import Box, replay_case
    host = Box.load(box)
    total = different = 0
    for case in cases:
        steps, differences = replay_case(host, case, conntrack)
        total += steps
        different += len(differences)
        for d in differences:
            print(d)
    print(f"{total - different}/{total} steps identical")
    if different:
        raise typer.Exit(1)


class BenchName(str, Enum):
    """The workloads."""

    udp = "wan-udp"
    tcp = "wan-tcp"


@app.command(epilog="Example:  simcore bench wan-udp --containers 8 --duration 10 --json")
def bench(workload: Annotated[BenchName, typer.Argument(help="wan-udp (A) or wan-tcp (B).")],
          containers: Annotated[int, typer.Option(min=1, max=15000, help="Containers that send, 1000 to a bridge.")] = 8,
          duration: Annotated[float | None, typer.Option(min=0.01, help="Simulated seconds (A: 10, B: 20).")] = None,
          seed: Annotated[int, typer.Option(min=0)] = 1,
          engine: Annotated[Engine, typer.Option(help="compiled or simpy.")] = Engine.compiled,
          as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Measure the simulator: wall time per packet with the host's real NAT on."""
    if workload is BenchName.udp:
        row = benchmarks.wan_udp(containers, duration or 10.0, seed, engine.value)
    else:
        row = benchmarks.wan_tcp(containers, duration or 20.0, seed, engine.value)
    if as_json:
        print(json.dumps(row))
        return
    for key, value in row.items():
        print(f"{key:>20}  {value:.6g}" if isinstance(value, float) else f"{key:>20}  {value}")


@app.command(epilog="Example:  simcore calibrate --out host.json   (then x-simcore.host.cpu.preset: host.json)")
def calibrate(out: Annotated[Path, typer.Option(help="File to write the costs to.")] = Path("host.json"),
              packets: Annotated[int, typer.Option(min=1000, help="Packets of one measurement.")] = 100_000,
              repeats: Annotated[int, typer.Option(min=1, help="Measurements of each path; the median counts.")] = 5,
              as_json: Annotated[bool, typer.Option("--json", help="Print the file's content, too.")] = False) -> None:
    """Measure what this machine's kernel needs for a packet, in network namespaces of its own (root)."""
    reason = kernel.available()
    if reason:
        raise ScenarioError(f"calibrate {reason}")
    if not out.parent.is_dir():
        raise ScenarioError(f"--out {out}: no such directory")
    measured = kernel.measure(packets=packets, repeats=repeats, progress=lambda text: print(f"simcore: {text}", file=sys.stderr))
    result = {"costs": asdict(kernel.costs(measured)), "measured_ns": measured, **kernel.describe()}
    write_json(out, result)
    if as_json:
        print(json.dumps(result))
        return
    for name, ns in measured.items():
        print(f"{name:>12}  {ns:8.0f} ns per packet   {kernel.WHAT.get(name, '')}")
    for name, ns in asdict(kernel.costs(measured)).items():
        print(f"{name:>12}  {ns:8.0f} ns")
    print(f"written to {out}")


def main(argv: list[str] | None = None) -> Any:
    """Entry point: errors of the user's making are one line on stderr, exit 2."""
    try:
        return app(argv, standalone_mode=True)
    except (SimcoreError, NatfastError) as error:
        print(f"simcore: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
