"""The command `natfast`."""
from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from natfast import bench as bench_module
from natfast.errors import NatfastError
from natfast.translate import translate

EXAMPLES = """examples:
  natfast translate in.pcap out.pcapng --box box.json --iif docker0 --oif eth0
  natfast bench --flows 1000 64K 1M --plot natfast.png
  natfast bench --flows 64K --threads 2 --pattern zipf --json
  natfast bench --flows 64K --mix in=60,icmp=2,fragment=1 --full
"""


def _number(text: str) -> int:
    scale = {"k": 1000, "K": 1024, "M": 1 << 20}.get(text[-1:], 1)
    try:
        n = int(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, as 1000, 64K or 1M") from None
    if n < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return n


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser("natfast", description="Netfilter in user space: translate captures, measure the core.",
                                  epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", required=True)
    t = commands.add_parser("translate", help="translate a capture as the host in a box.json would")
    t.add_argument("source", type=Path, metavar="IN.pcap[ng]")
    t.add_argument("target", type=Path, metavar="OUT.pcapng")
    t.add_argument("--box", type=Path, required=True, help="the host: interfaces, routes, neighbours, rules")
    t.add_argument("--iif", required=True, help="interface that the frames came in by")
    t.add_argument("--oif", required=True, help="interface that they leave by")
    t.add_argument("--json", action="store_true", help="counts as one JSON object")
    b = commands.add_parser("bench", help="nanoseconds per packet, new flow and expiry; RFC 9693's metrics")
    b.add_argument("--flows", type=_number, nargs="+", default=[1, 1000, 65536], help="numbers of flows (1000, 64K, 1M)")
    b.add_argument("--frames", type=_number, default=1 << 20, help="frames to translate")
    b.add_argument("--threads", type=_number, default=1, help="worker threads (1)")
    b.add_argument("--size", type=_number, default=64, help="bytes per frame (64)")
    b.add_argument("--pattern", choices=["random", "zipf"], default="random", help="which flows the packets belong to")
    b.add_argument("--mix", metavar="in=50,icmp=2,fragment=1", default="", help="percent of the packets that come in, and that are "
                   "ICMP (pings, errors) or fragments (50, 0, 0)")
    b.add_argument("--full", action="store_true", help="also at 90 %% of nf_conntrack_max: its time over that at half")
    b.add_argument("--preset", choices=["csit"], help="csit: 1 024 hosts with 63 ports each, as FD.io CSIT measures")
    b.add_argument("--plot", metavar="FILE", help="draw the rows (needs matplotlib)")
    b.add_argument("--json", action="store_true", help="one JSON object a line")
    return top


_HEADINGS = (f"{'flows':>9} {'ns/packet':>10} {'x memory':>9} {'Mpps':>7} {'columns':>8} {'ns/new flow':>12} "
             f"{'ns/closed':>10} {'ns/torn down':>13} {'ns/expired':>11} {'ns/swept':>9} "
             f"{'conn/s':>9} {'bytes/flow':>11} {'worst call':>11}")


def _row(r: dict[str, Any]) -> str:
    nan = float("nan")                          # what this run has not measured
    text = (f"{r['flows']:>9} {r['ns_per_packet']:>10.1f} {r['ns_per_packet'] / r['touch_ns']:>9.1f} {r['mpps']:>7.2f} "
            f"{r['columns_ns'] or nan:>8.1f} {r['insert_ns']:>12.1f} {r['closed_ns'] or nan:>10.1f} {r['teardown_ns']:>13.1f} "
            f"{r['expire_ns']:>11.1f} {r['sweep_ns']:>9.1f} {r['connections_per_s']:>9.2g} {r['bytes_per_flow']:>11.1f} "
            f"{r['worst_call_us']:>8.0f} us")
    if r["full_ratio"] is not None:
        text += f" {r['full_ratio']:>9.2f}x"
    if r["queues_ns"] is not None:
        text += f" {r['queues_ns']:>9.1f}"
    return text


class _Progress:
    """Percent done, on a terminal, of what takes longer than two seconds."""

    def __init__(self) -> None:
        self.since = time.monotonic()

    def __call__(self, part: float) -> None:
        if time.monotonic() - self.since > 2:
            print(f"\r{part:.0%}" if part < 1 else "\r    \r", end="", file=sys.stderr, flush=True)


def run(argv: list[str] | None = None) -> None:
    """Run a command; errors are raised."""
    args = parser().parse_args(argv)
    if args.command == "translate":
        counts = translate(args.source, args.target, args.box, args.iif, args.oif, _Progress() if sys.stderr.isatty() else None)
        if args.json:
            print(json.dumps(vars(counts)))
        else:
            print(f"{counts.frames} frames: {counts.translated} written to {args.target}, {counts.returned} answers, "
                  f"{counts.dropped} dropped, {counts.other} not IPv4")
        return
    mix = bench_module.Mix.parse(args.mix)
    if args.threads > 64:
        raise NatfastError(f"--threads {args.threads}: expected 1 to 64")
    if args.size < 64 or args.size > 1514:
        raise NatfastError(f"--size {args.size}: expected 64 to 1514")
    if not args.json:
        print(_HEADINGS + (f" {'90 % full':>10}" if args.full else "") + (f" {'ns sorted':>9}" if args.threads > 1 else ""))
    rows = []
    for flows in [1024 * 63] if args.preset == "csit" else args.flows:
        row = bench_module.bench(flows, args.frames, size=args.size, threads=args.threads, pattern=args.pattern, mix=mix,
                                 full=args.full)
        rows.append(row)
        print(json.dumps(row) if args.json else _row(row), flush=True)
    if args.plot:
        bench_module.plot(rows, args.plot)


def main() -> None:
    """Entry point: errors are one line, exit 2."""
    try:
        run()
    except NatfastError as error:
        print(f"natfast: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
