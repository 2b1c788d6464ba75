"""`make bench`: side by side in one run, medians of interleaved repeats, as ratios.

Each repeat has a process of its own: what one leaves behind, scattered over the heap, would slow the next.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from benchmarks import ns3, scapy_nat
from benchmarks.many_connections import many_tcp
from benchmarks.plain_nat import PlainNat
from benchmarks.plain_simpy import wan_udp as plain_wan_udp
from natfast import bench as natbench
from simcore.study import bench as simbench
from simcore.study import kernel

Runner = Callable[[], float]


def median_interleaved(runners: dict[str, Runner], repeats: int) -> dict[str, float]:
    """Run all once per repeat, so that what disturbs the machine disturbs all."""
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for i in range(repeats):
        for name, run in runners.items():
            if sys.stderr.isatty():
                print(f"\r{i + 1}/{repeats} {name:<40}", end="", file=sys.stderr)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                samples[name].append(process.submit(run).result())
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return {name: statistics.median(values) for name, values in samples.items()}


def figure(work: Callable[..., dict[str, Any]], key: str, *args: Any, **kwargs: Any) -> float:
    """One number of a workload's result."""
    return float(work(*args, **kwargs)[key])


def frames_of(flows: int, packets: int) -> list[bytes]:
    """Frames as natfast gets them."""
    numbers = np.random.default_rng(1).integers(0, flows, packets)
    return [f.tobytes() for f in natbench._frames(numbers, "ack", 64).frames]


def plain_nat(flows: int, packets: int = 20000) -> float:
    """ns per packet of a NAT in plain Python (dict and struct)."""
    nat = PlainNat()
    frames = [bytearray(f) for f in frames_of(flows, packets)]
    began = time.perf_counter()
    for f in frames:
        nat.outward(f)
    return (time.perf_counter() - began) * 1e9 / packets


def scapy(flows: int, packets: int = 500) -> float:
    """ns per packet of a NAT written with scapy."""
    return scapy_nat.nat(frames_of(flows, packets))


def kernel_nat() -> float:
    """ns that the kernel needs more for a packet with conntrack and masquerading than for routing it over the bridge alone.

    veth -> bridge -> NAT -> veth in network namespaces; the path without netfilter is the sender's share and the rest.
    """
    measured = kernel.measure(("B1", "F"), packets=50_000, repeats=1)
    return measured["F"] - measured["B1"]


WINDOW = 20_000             # bytes: 10 000 of them fill two thirds of 100 Gbit/s over 20 ms


def main() -> None:
    """Run and print."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--json", action="store_true")
    p.add_argument("--only", nargs="+", choices=("wan-udp", "wan-tcp", "tcp", "calendar", "nat"), help="these workloads alone")
    args = p.parse_args()
    rows: list[dict[str, Any]] = []
    missing: list[str] = []

    def measure(name: str, workload: str, unit: str, runners: dict[str, Runner]) -> None:
        if args.only and name not in args.only:
            return
        result = median_interleaved(runners, args.repeats)
        base = next(iter(result.values()))
        rows.extend({"workload": workload, "what": k, "unit": unit, "ns": v, "ratio": v / base} for k, v in result.items())

    program, reason = ns3.build()
    if program is None:
        missing.append(f"ns-3: {reason}")
    udp: dict[str, Runner] = {
        "simcore, compiled, NAT on": partial(figure, simbench.wan_udp, "ns_per_packet", 8, 4.0),
        "simcore, 512 containers": partial(figure, simbench.wan_udp, "ns_per_packet", 512, 10.0),
        "simcore, 4 096 containers": partial(figure, simbench.wan_udp, "ns_per_packet", 4096, 10.0),
        "simcore, engine=simpy, NAT on": partial(figure, simbench.wan_udp, "ns_per_packet", 8, 1.0, engine="simpy"),
        "plain SimPy, no NAT": partial(figure, plain_wan_udp, "ns_per_packet", 8, 2.0),
    }
    try:
        from benchmarks.nspy_path import wan_udp as nspy_wan_udp
        udp["ns.py, no NAT"] = partial(figure, nspy_wan_udp, "ns_per_packet", 8, 1.0)
    except ImportError:
        missing.append("ns.py: not installed (pip install ns.py)")
    tcp: dict[str, Runner] = {"simcore, 8 CUBIC flows, NAT on": partial(figure, simbench.wan_tcp, "ns_per_packet", 8, 20.0)}
    if program is not None:
        udp["ns-3, no NAT"] = partial(ns3.run, program, 8, 2.0, False)
        tcp["ns-3, 8 CUBIC flows, no NAT"] = partial(ns3.run, program, 8, 5.0, True)
    measure("wan-udp", "A (wan-udp)", "packet", udp)
    measure("wan-tcp", "B (wan-tcp)", "segment", tcp)
    measure("tcp", "many connections (tcp)", "segment", {
        f"simcore, {n} connections at {gbit} Gbit/s{', no loss' if window else ''}, NAT on":
            partial(figure, many_tcp, "ns_per_segment", n, min(n, 100), rate=gbit * 1e9, duration=10 / gbit, window=window)
        for n, gbit, window in ((8, 10, None), (1000, 10, None), (10_000, 10, None), (10_000, 100, None), (10_000, 100, WINDOW))})
    measure("calendar", "calendar", "event", {
        f"simcore, {n} busy links": partial(figure, simbench.calendar, "ns_per_event", n) for n in (1000, 100_000)})
    nats: dict[str, Runner] = {
        "natfast, 1 000 flows": partial(figure, natbench.bench, "ns_per_packet", 1000, 1 << 17),
        "natfast, 64 K flows": partial(figure, natbench.bench, "ns_per_packet", 65536, 1 << 18),
        "plain Python NAT (dict + struct), 1 000 flows": partial(plain_nat, 1000),
        "scapy NAT, 1 000 flows": partial(scapy, 1000),
    }
    if reason := kernel.available():
        missing.append(f"the kernel: {reason}")
    else:
        nats["Linux, conntrack + masquerade, 1 flow"] = kernel_nat
    measure("nat", "NAT", "packet", nats)
    for line in missing:
        print(f"left out: {line}", file=sys.stderr)
    for row in rows:
        if args.json:
            print(json.dumps(row))
        else:
            print(f"{row['workload']:<23} {row['what']:<48} {row['ns']:>10.0f} ns/{row['unit']:<8} {row['ratio']:>8.1f}x")


if __name__ == "__main__":
    main()
