"""What a run came to, as JSON has it: what was counted since the measuring began."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from natfast.rules import source_ports
from simcore.study.findings import conclusion, findings, headroom

if TYPE_CHECKING:
    from simcore.study.scenario import World

_LEVELS = ("entries", "peak", "bytes")
"""Of conntrack's statistics, what is a level, not a count."""

_PORTS = 65536 - 1024
"""Source ports that masquerading chooses from, unless a rule says which."""

_ENDING = ("TIME_WAIT", "CLOSE", "LAST_ACK", "SYN_SENT", "SYN_RECV")
"""States of TCP in which nothing comes any more."""


def counters(world: World) -> dict[str, Any]:
    """Everything in a world that only counts up."""
    host = world.host.namespace
    return {
        "links": {name: {"packets": link.packets, "bytes": link.bytes, "dropped": link.dropped, "lost": link.lost,
                         "waited": link.waited, "queue_s": link.queue_seconds, "busy_s": link.busy_seconds,
                         **({"marked": link.qdisc.marked} if link.qdisc is not None else {})} for name, link in world.links.items()},
        "interfaces": {dev.place: {"rx_packets": dev.rx_packets, "rx_bytes": dev.rx_bytes, "tx_packets": dev.tx_packets,
                                   "tx_bytes": dev.tx_bytes}
                       for ns in world.namespaces() for dev in ns.interfaces if dev.name != "lo"},
        "conntrack": {k: v for k, v in host.netfilter.stats.items() if k not in _LEVELS} if host.netfilter else {},
        "drops": {ns.name: dict(ns.drops) for ns in world.namespaces() if ns.drops},
        "rules": {ns.name: ns.netfilter.rules.stopped(ns.netfilter.counts()) for ns in world.namespaces() if ns.netfilter},
        "cores": {i: {k: v for k, v in core.items() if k != "longest_backlog"} for i, core in enumerate(world.cpu.stats)}
        if world.cpu else {},
    }


def since(now: Mapping[Any, Any], before: Mapping[Any, Any]) -> dict[Any, Any]:
    """How much has been counted after `before`, key by key; what was not there then counts from nothing."""
    return {k: since(v, before.get(k, {})) if isinstance(v, Mapping) else v - before.get(k, 0) for k, v in now.items()}


def summary(world: World) -> dict[str, Any]:
    """Links, interfaces, conntrack, CPU and drops, the workloads' results, and what stood out."""
    host = world.host.namespace
    counted = since(counters(world), world.before)
    seconds = world.env.now - world.measured_from
    links = {name: {"rate_bps": world.links[name].rate, "packets": c["packets"], "bytes": c["bytes"], "dropped": c["dropped"],
                    "lost": c["lost"], "drop_share": c["dropped"] / max(c["packets"] + c["dropped"], 1),
                    "mean_wait_us": c["waited"] / c["packets"] * 1e6 if c["packets"] else 0.0,
                    "mean_queue": c["queue_s"] / seconds if seconds > 0 else 0.0,
                    "utilisation": c["busy_s"] / seconds if seconds > 0 else 0.0,
                    **({"marked": c["marked"]} if "marked" in c else {}),
                    **({"wait_s": delays.summary()} if (delays := world.links[name].delays) is not None else {})}
             for name, c in counted["links"].items()}
    drops, rules = (_that_counted(counted[key]) for key in ("drops", "rules"))
    out: dict[str, Any] = {
        "engine": world.env.engine, "seed": world.seed, "simulated_s": world.env.now, "measured_s": seconds, "partial": world.partial,
        "packets": sum(v["packets"] for v in links.values()), "dropped": sum(v["dropped"] for v in links.values()),
        "workloads": world.workloads.results(), "apps": world.apps.results(seconds),
        "throughput_bps": world.workloads.throughput(), "latency_s": world.workloads.latency(),
        "conntrack": host.netfilter.conntrack(world.env.now) if host.netfilter else [],
        "conntrack_stats": {**host.netfilter.stats, **counted["conntrack"],
                            "max": host.netfilter.sysctl("net.netfilter.nf_conntrack_max"), "expected": _expected(world)}
        if host.netfilter else {},
        "source_ports": _source_ports(world) if host.netfilter else None,
        "neighbours": {"entries": len(host.arp_cache), "peak": host.arp_cache.peak, "max": host.arp_cache.gc_thresh3},
        "cpu": _cpu(world, counted["cores"], seconds), "links": links, "interfaces": counted["interfaces"], "drops": drops,
        "stopped_by": rules,
        **({"flows": world.flows.records()} if world.flows is not None else {}),
    }
    found = findings(out)
    return {**out, "headroom": [{"resource": name, "used": share} for name, share in headroom(out)],
            "findings": [asdict(f) for f in found], "conclusion": conclusion(out, found)}


def _that_counted(counted: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Of namespaces' counters those that are not 0, and the namespaces that have some."""
    return {name: left for name, counters in counted.items() if (left := {what: n for what, n in counters.items() if n})}


def _expected(world: World) -> float:
    """Entries of conntrack once it has gone on like this for long."""
    return _in_the_long_run(world, world.host.namespace.netfilter.occupancy(world.env.now))


def _in_the_long_run(world: World, there: Mapping[str, int]) -> float:
    """How many connections there will be, of those in these states now: arrivals times the time that each stays (Little).

    A TCP connection that is over, or never began, stays for its state's timeout; what a run shorter than that has of them is only
    the beginning. Others are taken to be as many as they are.
    """
    nf = world.host.namespace.netfilter
    elapsed = world.env.now - min((w.start for w in world.compose.x.workloads), default=0.0)
    total = float(sum(there.values()))
    for state in _ENDING:
        timeout = nf.sysctl(f"net.netfilter.nf_conntrack_tcp_timeout_{state.lower()}")
        if 0 < elapsed < timeout:
            total += there.get(f"tcp {state}", 0) * (timeout / elapsed - 1)
    return total


def _source_ports(world: World) -> dict[str, Any] | None:
    """Of all destinations the one for which source ports are the scarcest; None if nothing is translated."""
    ranges = [r for chain in world.host.rules().tables["nat"].values() for rule in chain.rules if (r := source_ports(rule)) is not None]
    scarcest = None
    for (protocol, source, address, port), used in world.host.namespace.netfilter.source_ports(world.env.now).items():
        # which rule they were chosen by is not noted; but if all are of a rule's ports, it was that one
        size = min((high - low + 1 for low, high in ranges if low <= used["low"] and used["high"] <= high), default=_PORTS)
        expected = _in_the_long_run(world, {f"{protocol} {state}": n for state, n in used["states"].items()})
        if scarcest is None or expected / size > scarcest["expected"] / scarcest["max"]:
            scarcest = {"protocol": protocol, "source": source, "destination": f"{address}:{port}", "used": sum(used["states"].values()),
                        "expected": expected, "max": size}
    return scarcest


def _cpu(world: World, cores: Mapping[int, Mapping[str, Any]], seconds: float) -> dict[str, Any] | None:
    if world.cpu is None:
        return None
    longest = [core["longest_backlog"] for core in world.cpu.stats]
    return {"cores": [{**core, "longest_backlog": longest[i]} for i, core in cores.items()],
            "utilisation": [core["busy_s"] / seconds if seconds > 0 else 0.0 for core in cores.values()]}
