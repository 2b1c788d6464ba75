"""`make bench`: side by side in one run, medians of interleaved repeats, as ratios."""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
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
            samples[name].append(run())
    if sys.stderr.isatty():
        print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return {name: statistics.median(values) for name, values in samples.items()}


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


def kernel_nat() -> float:
    """ns that the kernel needs more for a packet with conntrack and masquerading than for routing it over the bridge alone.

    veth -> bridge -> NAT -> veth in network namespaces; the path without netfilter is the sender's share and the rest.
    """
    measured = kernel.measure(("B1", "F"), packets=50_000, repeats=1)
    return measured["F"] - measured["B1"]


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
        "simcore, compiled, NAT on": lambda: float(simbench.wan_udp(8, 4.0)["ns_per_packet"]),
        "simcore, 512 containers": lambda: float(simbench.wan_udp(512, 10.0)["ns_per_packet"]),
        "simcore, 4 096 containers": lambda: float(simbench.wan_udp(4096, 10.0)["ns_per_packet"]),
        "simcore, engine=simpy, NAT on": lambda: float(simbench.wan_udp(8, 1.0, engine="simpy")["ns_per_packet"]),
        "plain SimPy, no NAT": lambda: plain_wan_udp(8, 2.0)["ns_per_packet"],
    }
    try:
        from benchmarks.nspy_path import wan_udp as nspy_wan_udp
        udp["ns.py, no NAT"] = lambda: nspy_wan_udp(8, 1.0)["ns_per_packet"]
    except ImportError:
        missing.append("ns.py: not installed (pip install ns.py)")
    tcp: dict[str, Runner] = {"simcore, 8 CUBIC flows, NAT on": lambda: float(simbench.wan_tcp(8, 20.0)["ns_per_packet"])}
    if program is not None:
        udp["ns-3, no NAT"] = lambda: ns3.run(program, 8, 2.0, False)
        tcp["ns-3, 8 CUBIC flows, no NAT"] = lambda: ns3.run(program, 8, 5.0, True)
    measure("wan-udp", "A (wan-udp)", "packet", udp)
    measure("wan-tcp", "B (wan-tcp)", "segment", tcp)
    many = {f"simcore, {n} connections at {gbit} Gbit/s, NAT on": lambda n=n, gbit=gbit: float(  # type: ignore[misc]
                many_tcp(n, min(n, 100), rate=gbit * 1e9, duration=10 / gbit)["ns_per_segment"])
            for n, gbit in ((8, 10), (1000, 10), (10_000, 10), (10_000, 100))}
    measure("tcp", "many connections (tcp)", "segment", many)
    measure("calendar", "calendar", "event", {f"simcore, {n} busy links": lambda n=n: float(simbench.calendar(n)["ns_per_event"])  # type: ignore[misc]
                                  for n in (1000, 100_000)})
    nats: dict[str, Runner] = {
        "natfast, 1 000 flows": lambda: float(natbench.bench(1000, 1 << 17)["ns_per_packet"]),
        "natfast, 64 K flows": lambda: float(natbench.bench(65536, 1 << 18)["ns_per_packet"]),
        "plain Python NAT (dict + struct), 1 000 flows": lambda: plain_nat(1000),
        "scapy NAT, 1 000 flows": lambda: scapy_nat.nat(frames_of(1000, 500)),
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
            print(f"{row['workload']:<15} {row['what']:<48} {row['ns']:>10.0f} ns/{row['unit']:<8} {row['ratio']:>8.1f}x")


if __name__ == "__main__":
    main()
