"""`make bench`: side by side in one run, medians of interleaved repeats, as ratios."""
from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.plain_nat import PlainNat
from benchmarks.plain_simpy import wan_udp as plain_wan_udp
from natfast import bench as natbench
from simcore.study import bench as simbench

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


def plain_nat(flows: int, packets: int = 20000) -> float:
    """ns per packet of a NAT in plain Python (dict and struct), on the frames that natfast gets."""
    import numpy as np
    nat = PlainNat()
    numbers = np.random.default_rng(1).integers(0, flows, packets)
    frames = [bytearray(f.tobytes()) for f in natbench._frames(numbers, "ack", 64).frames]
    began = time.perf_counter()
    for f in frames:
        nat.outward(f)
    return (time.perf_counter() - began) * 1e9 / packets


def main() -> None:
    """Run and print."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    rows: list[dict[str, Any]] = []
    simulators: dict[str, Runner] = {
        "simcore, compiled, NAT on": lambda: float(simbench.wan_udp(8, 4.0)["ns_per_packet"]),
        "simcore, 512 containers": lambda: float(simbench.wan_udp(512, 4.0)["ns_per_packet"]),
        "simcore, engine=simpy, NAT on": lambda: float(simbench.wan_udp(8, 1.0, engine="simpy")["ns_per_packet"]),
        "plain SimPy, no NAT": lambda: plain_wan_udp(8, 2.0)["ns_per_packet"],
    }
    result = median_interleaved(simulators, args.repeats)
    base = result["simcore, compiled, NAT on"]
    rows += [{"workload": "A (wan-udp)", "what": k, "ns_per_packet": v, "ratio": v / base} for k, v in result.items()]
    nats: dict[str, Runner] = {
        "natfast, 1 000 flows": lambda: float(natbench.bench(1000, 1 << 17)["ns_per_packet"]),
        "natfast, 64 K flows": lambda: float(natbench.bench(65536, 1 << 18)["ns_per_packet"]),
        "plain Python NAT (dict + struct), 1 000 flows": lambda: plain_nat(1000),
    }
    result = median_interleaved(nats, args.repeats)
    base = result["natfast, 1 000 flows"]
    rows += [{"workload": "NAT", "what": k, "ns_per_packet": v, "ratio": v / base} for k, v in result.items()]
    for row in rows:
        if args.json:
            print(json.dumps(row))
        else:
            print(f"{row['workload']:<12} {row['what']:<48} {row['ns_per_packet']:>10.0f} ns/packet {row['ratio']:>8.1f}x")


__all__ = ["main", "median_interleaved", "plain_nat"]

if __name__ == "__main__":
    main()
