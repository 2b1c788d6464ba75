"""What `simcore run` prints: packets hop by hop, conntrack, workloads."""
from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from simcore.measure.trace import Hop

FEW = 8
"""Results of one workload that are told one by one, and findings."""
SOME = 4
"""Items of a list in a sentence."""
ENTRIES = 10
"""Of conntrack that are printed."""
WIDE = 170
"""Columns that the table needs."""


def _hex(value: int | None) -> str:
    return "-" if value is None else f"{value:04x}"


def hop_table(title: str, hops: list[Hop]) -> Table:
    """One packet's way as a table."""
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=False, pad_edge=False)
    for name, justify in (("time ms", "right"), ("place", "left"), ("", "left"), ("source MAC > destination MAC", "left"),
                          ("source > destination", "left"), ("TTL", "right"), ("IP sum", "left"), ("L4 sum", "left"),
                          ("what changed, and why", "left")):
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in ("place", "time ms", "TTL"))  # type: ignore[arg-type]
    for hop in hops:
        f = hop.fields
        changed = ", ".join(hop.changed)
        why = "; ".join(hop.why)
        table.add_row(f"{hop.time * 1e3:.4f}", hop.place, "out" if hop.outgoing else "in", f"{f.source_mac} > {f.destination_mac}",
                      f"{f.source} > {f.destination}", str(f.ttl or "-"), _hex(f.ip_checksum) if f.ttl else "-", _hex(f.l4_checksum),
                      f"[bold]{changed}[/bold]: {why}" if changed else why or "unchanged")
    return table


def hop_lines(console: Console, title: str, hops: list[Hop]) -> None:
    """The same for a narrow terminal: a few lines a hop."""
    console.print(f"[bold]{title}[/bold]")
    for hop in hops:
        f = hop.fields
        sums = f"  TTL {f.ttl}  IP {_hex(f.ip_checksum)}  L4 {_hex(f.l4_checksum)}" if f.ttl else ""
        console.print(f"  {hop.time * 1e3:10.4f} ms  [bold]{hop.place}[/bold] {'out' if hop.outgoing else 'in'}{sums}")
        console.print(f"      {f.source} > {f.destination}")
        console.print(f"      {f.source_mac} > {f.destination_mac}")
        changed, why = ", ".join(hop.changed), "; ".join(hop.why)
        console.print(f"      [bold]{changed}[/bold]: {why}" if changed else f"      {why or 'unchanged'}")


def tell(packets: list[list[Hop]]) -> list[tuple[str, list[Hop]]]:
    """The packets worth showing: the first of each kind between each pair of ends, with a title."""
    out: list[tuple[str, list[Hop]]] = []
    seen: set[tuple[str, str, str]] = set()
    for hops in packets:
        first = hops[0]
        kind = first.fields.protocol
        key = (kind, first.fields.source.split(":")[0], first.fields.destination.split(":")[0])
        if key in seen:
            continue
        seen.add(key)
        out.append((f"{kind}  {first.fields.source} > {first.fields.destination}", hops))
    return out


def print_run(console: Console, summary: dict[str, Any], packets: list[list[Hop]] | None) -> None:
    """The whole report."""
    if packets is not None:
        for title, hops in tell(packets):
            if console.width >= WIDE:
                console.print(hop_table(title, hops))
            else:
                hop_lines(console, title, hops)
            console.print()
    if summary["conntrack"]:
        console.print("[bold]conntrack on the host at the end[/bold]")
        for line in summary["conntrack"][:ENTRIES]:
            console.print(f"  {line}", highlight=False, soft_wrap=True)
        if (more := len(summary["conntrack"]) - ENTRIES) > 0:
            console.print(f"  and {more} more, in summary.json")
        console.print()
    _print_table(console, "workloads", ("kind", "from", "to", "result"),
                 [[w["kind"], w["from"], w["to"] + (f":{w['port']}" if "port" in w else ""), result_text(w)] for w in summary["workloads"]])
    _print_table(console, "applications", APP_COLUMNS, [app_row(name, app) for name, app in summary["apps"].items()])
    if summary["throughput_bps"] is not None:
        console.print(f"throughput  {summary['throughput_bps'] / 1e6:.6g} Mbit/s of payload while transferring")
    if summary["latency_s"] is not None:
        rtt = summary["latency_s"]
        console.print(f"latency     {rtt['min'] * 1e3:.4f} / {rtt['mean'] * 1e3:.4f} / {rtt['max'] * 1e3:.4f} ms "
                      f"(least / mean / most of {rtt['count']} pings)")
    if "emulation" in summary:
        print_emulation(console, summary["emulation"])
    console.print(f"simulated   {summary['simulated_s']:.6g} s, {summary['packets']} frames over links, "
                  f"{summary['dropped']} dropped in queues")
    for reason, places in by_reason(summary["drops"]).items():
        console.print(f"dropped     {reason}: {listed([f'{n} by {name}' for name, n in places.items()])}", soft_wrap=True)
    print_findings(console, [(f, "") for f in summary["findings"]], "summary.json")
    console.print(summary["conclusion"], soft_wrap=True)


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Nothing if it would be empty."""
    if rows:
        table = Table(*(Column(name, overflow="fold") for name in columns), title=title, title_justify="left", title_style="bold",
                      pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)


def print_emulation(console: Console, e: Mapping[str, Any]) -> None:
    """How real machines took part."""
    late = e["behind_s"]
    console.print(f"real        {listed(e['machines'])}: {e['from_real']} frames from there, {e['to_real']} to there"
                  + (f", {e['refused']} not taken" if e["refused"] else "")
                  + (f"; behind the clock by {late['mean'] * 1e3:.3f} ms in the mean, {late['p99'] * 1e3:.3f} ms at most in 99 % of cases, "
                     f"{late['max'] * 1e3:.3f} ms once" if late["count"] else ""), soft_wrap=True)


def by_reason(drops: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """For each reason, how many packets each namespace dropped for it."""
    out: dict[str, dict[str, int]] = {}
    for name, reasons in drops.items():
        for reason, n in reasons.items():
            out.setdefault(reason, {})[name] = n
    return out


def listed(items: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    return ", ".join(items[:SOME]) + (f" and {len(items) - SOME} more" if len(items) > SOME else "")


def print_findings(console: Console, found: Sequence[tuple[Mapping[str, Any], str]], file: str) -> None:
    """What stood out, where if that needs to be said, and what would help; of many the first, the rest are in a file."""
    for finding, where in found[:FEW]:
        console.print(f"• {escape(finding['text'])}" + (f" ({escape(where)})" if where else ""), soft_wrap=True)
        if finding["cure"]:
            console.print(f"    helps: {escape(finding['cure'])}", soft_wrap=True)
    if (more := len(found) - FEW) > 0:
        console.print(f"• and {more} more, in {file}")


def _request(r: dict[str, Any]) -> str:
    return r["error"] or (f"{r['status']}, {r['body_bytes']} bytes, connected in {r['connect_time'] * 1e3:.3f} ms, "
                          f"done in {r['total_time'] * 1e3:.3f} ms")


def _lookup(r: dict[str, Any]) -> str:
    waits = f", {r['timeouts']} timeouts" if r["timeouts"] else ""
    return f"{r['error'] or r['name'] + ' is ' + r['address']} in {r['total_time'] * 1e3:.3f} ms{waits}"


def _many(results: Sequence[tuple[str | None, float | None, str]], what: str) -> str:
    """Each of some results (error, seconds, text), or of more than one would read the least, mean and most."""
    if len(results) <= FEW:
        return "; ".join(text for _, _, text in results)
    times = [seconds * 1e3 for error, seconds, _ in results if error is None and seconds is not None]
    errors = Counter(error for error, _, _ in results if error is not None)
    answered = f"{len(times)} of {len(results)} {what} answered"
    spread = f" in {min(times):.4g} / {sum(times) / len(times):.4g} / {max(times):.4g} ms (least / mean / most)" if times else ""
    return answered + spread + "".join(f", {n} {error}" for error, n in errors.items())


def _bulk(w: Mapping[str, Any]) -> str:
    parts = w.get("flows", [w])
    sent, again = sum(f.get("bytes", 0) for f in parts), sum(f.get("retransmits", 0) for f in parts)
    done = [f["total_time_s"] for f in parts if "total_time_s" in f]
    speed = f" ({w['goodput_bps'] / 1e6:.4g} Mbit/s)" if w.get("goodput_bps") else ""
    return ((f"{len(parts)} flows, " if len(parts) > 1 else "") + f"{sent} bytes" + (f" in {max(done):.4f} s" if done else "") + speed
            + f", {again} retransmits" + ("" if len(done) == len(parts) else f", {len(parts) - len(done)} not finished"))


APP_COLUMNS = ("application", "connections", "requests", "workers", "waited for one", "answered after", "calls")


def app_row(name: str, app: Mapping[str, Any]) -> list[str]:
    """What an application came to, by `APP_COLUMNS`."""
    workers = f"{app['busy']:.3g} busy" if app["workers"] is None else f"{app['utilisation']:.0%} of {app['workers']} busy"
    connections = f"{app['open']:.3g}" if app["connections"] is None else f"{app['open_share']:.0%} of {app['connections']} open"
    return [name, connections, f"{app['requests_per_s']:.6g}/s" + (f", {app['failed']} failed" if app["failed"] else ""), workers,
            _times(app["wait_s"]) if app["workers"] else "", _times(app["response_s"]),
            "; ".join(f"{to}: {_times(call['response_s'])}"
                      + (f", {call['utilisation']:.0%} of {call['pool']} connections in use" if call["pool"] else "")
                      + (f", {call['failed']} failed" if call["failed"] else "") for to, call in app["calls"].items())]


def _times(t: Mapping[str, float]) -> str:
    return f"{t['mean'] * 1e3:.3f} ms mean, {t['p99'] * 1e3:.3f} ms p99" if t["count"] else "never"


def result_text(w: Mapping[str, Any]) -> str:
    """What a workload came to, in a line."""
    if "error" in w:
        return str(w["error"])
    if w["kind"] == "http":
        return _many([(r["error"] or None, r["total_time"], _request(r)) for r in w.get("requests", [])], "requests") or "not started"
    if w["kind"] == "ping":
        return _many([("lost" if r is None else None, r, "lost" if r is None else f"{r * 1e3:.4f} ms") for r in w.get("rtt_s", [])],
                     "pings") or "not started"
    if w["kind"] == "dns":
        return _many([(r["error"] or None, r["total_time"], _lookup(r)) for r in w.get("lookups", [])], "lookups") or "not finished"
    if w["kind"] == "load":
        times = f", {_times(w['response_s'])}" if w["response_s"]["count"] else ""
        again = f"{w['retried']} made again, " if w["retried"] else ""
        return (f"{w['requests_done']} requests ({w['requests_per_s']:.6g}/s), {again}{w['failed']} failed, {w['unanswered']} unanswered"
                f"{times}")
    if w["kind"] == "bulk":
        return _bulk(w)
    delay = w.get("mean_delay_s")           # udp, trace
    return f"{w.get('sent', 0)} sent, {w.get('received', 0)} received" + ("" if delay is None else f", mean delay {delay * 1e3:.3f} ms")
