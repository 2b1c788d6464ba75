"""What stood out in a run, in words: what was short, what was lost and where, and what would help."""
from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simcore.measure.report import by_reason, listed
from simcore.study.metrics import written
from simcore.traffic.title import title

BUSY = 0.9
"""Share of the run that a link or core is busy for, from which on it is called full."""
IDLE = 0.01
"""Share in use of the fullest resource, below which nothing is near its limit."""
HELD = 0.3
"""Share of the time that a sender is held back by an end's memory, from which on that is worth mentioning."""
LONG = 0.02
"""Seconds of waiting in a queue, on average, that are worth mentioning."""


@dataclass(frozen=True)
class Finding:
    """One of them.

    Attributes
    ----------
    what : str
        Its kind, for machines: `link-full`, `conntrack-full`, …
    place : str
        Link, namespace or workload.
    weight : float
        About the share of packets, requests or time that it took; the heaviest comes first.
    text, cure : str
        For readers; the cure may be empty.
    """

    what: str
    place: str
    weight: float
    text: str
    cure: str = ""


def findings(summary: Mapping[str, Any]) -> list[Finding]:
    """What stood out, the heaviest first; nothing if all went well."""
    found = [*_links(summary), *_conntrack(summary), *_source_ports(summary), *_neighbours(summary),
             *_drops(summary), *_cpu(summary), *_apps(summary), *_workloads(summary), *_windows(summary)]
    return sorted(found, key=lambda f: -f.weight)


def headroom(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(resource, share in use) of all that can run out, the fullest first."""
    used = [(f"link {name}", link["utilisation"]) for name, link in summary["links"].items()]
    stats = summary["conntrack_stats"]
    if stats and stats["max"]:
        used.append(("conntrack table", max(stats["peak"], stats["expected"]) / stats["max"]))
    if (ports := summary["source_ports"]) is not None:
        used.append((f"source ports towards {ports['destination']}", ports["expected"] / ports["max"]))
    if summary["cpu"]:
        used += [(f"core {i}", share) for i, share in enumerate(summary["cpu"]["utilisation"])]
    for name, app in summary["apps"].items():
        used += [(f"{what} of {name}", app[share]) for what, share in (("workers", "utilisation"), ("connections", "open_share"))
                 if app[share] is not None]
        used += [(f"pool of {name} to {to}", call["utilisation"]) for to, call in app["calls"].items()
                 if call["utilisation"] is not None]
    return sorted(used, key=lambda u: -u[1])


def conclusion(summary: Mapping[str, Any], found: Sequence[Finding]) -> str:
    """What is short, or would be first, in a sentence."""
    short = next((f for f in found if f.what in _SHORT and f.weight >= IDLE), None)
    if short is not None:
        return f"What limits: {_SHORT[short.what]} of {short.place}."
    name, share = headroom(summary)[0]
    if share < IDLE:
        return f"Nothing comes near its limit; {name} is the fullest, {share:.2%} used."
    return f"What would be short first: {name}, {share:.0%} used, at about {times(share)} times this load."


def times(share: float) -> str:
    """By how much the load could grow until a resource of which a share is used is full, to two digits."""
    return f"{float(f'{1 / share:.2g}'):g}"


_SHORT = {"queue-overflow": "the queue and rate", "link-full": "the rate",
          "conntrack-full": "the conntrack table", "conntrack-filling": "the conntrack table",
          "ports-full": "the source ports", "ports-filling": "the source ports",
          "neighbours-full": "the neighbour table", "cpu-full": "the time",
          "workers-full": "the workers", "pool-full": "the pool of connections", "retries": "the retries",
          "connections-full": "the connections at a time",
          "receive-window": "the receiver's window", "send-buffer": "the send buffer"}


def key_of(link: str, links: Collection[str]) -> str:
    """The key that says what one of the links is like."""
    namespace, _, interface = link.partition("/")
    if namespace == "host":
        return "x-simcore.links." + ("container.reverse" if interface.startswith("veth-") else "host")
    if namespace == "router":
        return "x-simcore.links." + ("host.reverse" if interface == "eth0" else "server")
    return "x-simcore.links." + ("container" if f"host/veth-{namespace}" in links else "server.reverse")


def _links(summary: Mapping[str, Any]) -> Iterator[Finding]:
    for name, link in summary["links"].items():
        key = key_of(name, summary["links"])
        sent, dropped, busy, wait = link["packets"], link["dropped"], link["utilisation"], link["mean_wait_us"] * 1e-6
        share = dropped / max(sent + dropped, 1)
        waits = f"those that passed waited {written('_s', wait)} on average"
        lost = f"{dropped} of {sent + dropped} frames ({share * 100:.2g} %)"
        shorter = f"; a queue discipline such as fq_codel keeps the wait short ({key}.qdisc)" if wait > LONG else ""
        if dropped:
            full = busy >= BUSY
            yield Finding("queue-overflow", name, max(share, 0.5 * busy if full else 0.0),
                          f"{name} dropped {lost} from its queue: it was busy {busy:.0%} of the run"
                          + ("" if full else ", so at times more came than it carries") + f"; {waits}",
                          f"a higher rate ({key}.rate) or less traffic" + ("" if full or shorter else ", or a longer queue") + shorter)
        elif busy >= BUSY:
            yield Finding("link-full", name, 0.5 * busy,
                          f"{name} was busy {busy:.0%} of the run; frames waited {written('_s', wait)} on average",
                          f"a higher rate ({key}.rate) or less traffic{shorter}")
        elif wait > LONG:
            yield Finding("long-wait", name, min(wait, 0.4), f"{name}: frames waited {written('_s', wait)} on average",
                          f"a higher rate ({key}.rate){shorter}")
        if link["lost"]:
            gone = link["lost"] / max(sent, 1)
            yield Finding("loss", name, gone, f"{name} lost {link['lost']} of {sent} frames on the wire ({gone * 100:.2g} %)",
                          "as the link's impairments and events say")


_LARGER = "x-simcore.host.sysctls: a larger net.netfilter.nf_conntrack_max, or shorter timeouts; connections that are kept"


def _conntrack(summary: Mapping[str, Any]) -> Iterator[Finding]:
    stats = summary["conntrack_stats"]
    if not stats:
        return
    seen = max(stats["found"] + stats["insert"] + stats["drop"], 1)
    if stats["table_full"]:
        yield Finding("conntrack-full", "host", max(stats["table_full"] / seen, 0.45),
                      f"the conntrack table was full ({stats['max']} entries): {stats['table_full']} packets of new connections "
                      "were dropped",
                      _LARGER)
    elif stats["max"] and stats["expected"] > BUSY * stats["max"]:
        yield Finding("conntrack-filling", "host", 0.45 * stats["expected"] / (stats["expected"] + stats["max"]),
                      f"the conntrack table will be full if it goes on like this: connections that are over stay for their timeout, "
                      f"so that there will be about {stats['expected']:.3g} entries, and it takes {stats['max']}", _LARGER)
    if stats["invalid"]:
        yield Finding("invalid", "host", stats["invalid"] / seen,
                      f"{stats['invalid']} packets fitted no connection (INVALID): they pass untranslated, and may be answered by resets",
                      "-I FORWARD -m conntrack --ctstate INVALID -j DROP (x-simcore.host.iptables)")


_MORE_PORTS = "more addresses or ports to masquerade to, fewer new connections a second, or kept ones"


def _source_ports(summary: Mapping[str, Any]) -> Iterator[Finding]:
    ports = summary["source_ports"]
    without = by_reason(summary["drops"]).get("NAT: no free source port", {})
    for place, n in without.items():
        yield Finding("ports-full", place, max(n / max(summary["packets"], 1), 0.45),
                      f"{n} packets found no source port that was free towards their destination", _MORE_PORTS)
    if ports is not None and ports["expected"] > BUSY * ports["max"] and "host" not in without:
        yield Finding("ports-filling", "host", 0.45 * ports["expected"] / (ports["expected"] + ports["max"]),
                      f"source ports towards {ports['destination']} ({ports['protocol']}) will run out if it goes on like this: "
                      f"connections that are over keep theirs for their timeout, so that about {ports['expected']:.3g} of {ports['max']} "
                      "will be in use",
                      _MORE_PORTS)


_MORE_NEIGHBOURS = "x-simcore.host.sysctls: a larger net.ipv4.neigh.default.gc_thresh3, and gc_thresh2; or fewer containers on a host"
_OVERFLOW = "neighbour table overflow"


def _neighbours(summary: Mapping[str, Any]) -> Iterator[Finding]:
    table = summary["neighbours"]
    dropped = sum(reasons.get(_OVERFLOW, 0) for reasons in summary["drops"].values())
    if dropped:
        yield Finding("neighbours-full", "host", max(dropped / max(summary["packets"], 1), 0.45),
                      f"the neighbour table was full: {table['max']} entries for the host and all its containers, and a container that is "
                      f"talked to takes two; {dropped} packets were dropped, requests for an address (ARP) among them", _MORE_NEIGHBOURS)
    elif table["peak"] > BUSY * table["max"]:
        yield Finding("neighbours-filling", "host", IDLE,
                      f"the neighbour table had up to {table['peak']} entries of {table['max']}, for the host and all its containers",
                      _MORE_NEIGHBOURS)


_REASONS: Mapping[str, tuple[str, str]] = {
    "conntrack: insert failed": ("were dropped because another one took their tuple at the same moment, on another core",
                                 "MASQUERADE --random-fully, or a resolver that does not ask twice from one port"),
    "fragmentation needed and DF set": ("were too long for the next link and must not be fragmented: senders that do not hear of it stall",
                                        "let ICMP type 3 code 4 pass, or TCPMSS --clamp-mss-to-pmtu"),
    "neighbour unreachable": ("were for an address that nobody has (no answer to ARP)", ""),
    "neighbour queue full": ("came while their neighbour's address was still asked for, more than wait for it", ""),
    "no route": ("had no route", ""),
    "TTL exceeded": ("had been routed too often (TTL)", ""),
    "martian or unroutable": ("had a source address that cannot be there", ""),
    "forwarding is off": ("were for others, on a host that is no router", "net.ipv4.ip_forward: 1 among its sysctls"),
    "UDP: no socket": ("were datagrams to a port that nobody listens on", ""),
    "TCP: no socket": ("were segments of connections that nobody has there",
                       "if conntrack forgot an idle connection: a longer timeout, or keepalive"),
    "TCP: bad checksum": ("arrived with a wrong checksum", ""),
    "UDP: bad checksum": ("arrived with a wrong checksum", ""),
    "IP: bad checksum": ("arrived with a wrong checksum", ""),
    "bridge: back to its port": ("would have left by the port that they came by", "userland-proxy: false sets hairpin mode"),
    "longer than the port's MTU": ("were longer than the MTU", ""),
}


_LIMITS = ("-m limit ", "-m hashlimit ", "-m connlimit ")
_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "bridged FORWARD", "OUTPUT", "POSTROUTING")
"""What is counted as dropped there a rule has dropped, or rejected."""


def _counted(rules: Iterable[tuple[str, int]]) -> str:
    return listed([f"{text} ({count})" for text, count in rules])


def _drops(summary: Mapping[str, Any]) -> Iterator[Finding]:
    total = max(summary["packets"], 1)
    for place, reasons in summary["drops"].items():
        if n := sum(reasons.get(hook, 0) for hook in _HOOKS):
            rules = sorted(summary["stopped_by"].get(place, {}).items(), key=lambda rule: -rule[1])
            over = {text: count for text, count in rules if any(limit in text for limit in _LIMITS)}
            if over:
                yield Finding("over-limit", place, sum(over.values()) / total,
                              f"{sum(over.values())} packets were over the limits of {place}'s rules: {_counted(over.items())}",
                              "a higher limit, or one that tells clients apart: many behind one NAT are one address; who opens a "
                              "connection for each request (no keep-alive) meets it first, and waits a second for each SYN that is dropped")
            if n > (limited := sum(over.values())):
                others = [rule for rule in rules if rule[0] not in over]
                which = f": {_counted(others)}" if others else ""
                yield Finding("dropped", place, (n - limited) / total,
                              f"{n - limited} packets were dropped or rejected by rules of {place}{which}",
                              "simcore reach says what reaches what: networks are isolated from each other, and what is not published is "
                              "closed; if an old conntrack entry leads them to the wrong container, delete it (conntrack -D)"
                              if place == "host" else "")
    for reason, places in by_reason(summary["drops"]).items():
        n = sum(places.values())
        if reason in _REASONS:
            text, cure = _REASONS[reason]
            yield Finding("dropped", next(iter(places)), n / total, f"{n} packets {text} (in {listed(list(places))})", cure)


def _cpu(summary: Mapping[str, Any]) -> Iterator[Finding]:
    if not summary["cpu"]:
        return
    for i, (core, busy) in enumerate(zip(summary["cpu"]["cores"], summary["cpu"]["utilisation"], strict=True)):
        share = core["dropped"] / max(core["packets"] + core["dropped"], 1)
        if busy >= BUSY or core["dropped"]:
            yield Finding("cpu-full", f"core {i}", max(share, 0.5 * busy),
                          f"the host's core {i} was busy {busy:.0%} of the run"
                          + (f" and dropped {core['dropped']} packets ({share:.1%}) from its backlog" if core["dropped"] else ""),
                          "more cores (x-simcore.host.cpu.cores), fewer rules, or steering by flow")


_HARDLY = 0.1
"""Share of a call's time that waiting for a connection takes, up to which a pool that is in use all the time is large enough."""


def _apps(summary: Mapping[str, Any]) -> Iterator[Finding]:
    """Of workers that wait for others the heavier finding is of what they wait for."""
    for name, app in summary["apps"].items():
        key, busy = app["key"], app["utilisation"] or 0.0
        if busy >= BUSY:
            others, longest = _held_by_calls(app, summary["measured_s"])
            yield Finding("workers-full", name, 0.5 * busy * max(1 - others, 0.05),
                          f"{name}: {_all(app['workers'], 'worker')} busy {busy:.0%} of the run; requests waited "
                          f"{written('_s', app['wait_s'].get('mean', 0.0))} for one on average, and {app['mean_queue']:.3g} at a time"
                          + (f"; {others:.0%} of that time they waited for others, most for {longest}" if others > HELD else ""),
                          f"more workers ({key}.workers), more replicas, or less work for each request"
                          + (f"; or workers that take the next request while one waits ({key}.async)" if others > HELD else ""))
        for to, call in app["calls"].items():
            waits, tried = call["wait_s"].get("mean", 0.0), call["answered"] + call["failed"]
            share = waits / call["response_s"]["mean"] if call["answered"] else 0.0
            if call["pool"] and call["utilisation"] >= BUSY and share > _HARDLY:
                yield Finding("pool-full", name, 0.5 * call["utilisation"] * share,
                              f"{name}: {_all(call['pool'], f'connection to {to}', f'connections to {to}')} in use "
                              f"{call['utilisation']:.0%} of the run; calls waited {written('_s', waits)} for one on average, {share:.0%} "
                              "of the time that they took",
                              f"a larger pool ({key}.calls), or answers that come sooner")
            yield from _retries(call, tried, name, f"{name}: its calls to {to}", f"{key}.calls")
            for error, n in call["errors"].items():
                yield Finding("failed", name, n / tried, f"{name}: {n} of {tried} calls to {to} failed with {error}"
                              + (f" ({_ERRNO[error]})" if error in _ERRNO else "") + ", and so did the requests that they were made for")
        full, overflows = app["open_share"] or 0.0, app["overflows"]
        if full >= BUSY or overflows:
            yield Finding("connections-full", name, max(0.5 * full, overflows / (overflows + app["requests"])),
                          (f"{name}: {_all(app['connections'], 'connection')} open {full:.0%} of the run, and others waited to be accepted"
                           if app["connections"] else f"{name}: connections waited to be accepted")
                          + (f"; {overflows} SYNs were dropped, as its backlog was full: who connects tries again after 1 s, 3 s, 7 s, …"
                             if overflows else ""),
                          f"more connections at a time ({key}.connections), or shorter ones"
                          + (f"; a longer backlog ({key}.backlog) makes them wait instead" if overflows else ""))


def _retries(asked: Mapping[str, Any], tried: int, place: str, what: str, key: str) -> Iterator[Finding]:
    """What was given up and asked again makes work of which nothing comes; what was refused, or reset, makes none."""
    again = asked["retried"] / max(asked["retried"] + tried, 1)
    given_up = asked["timeout_s"] and (not asked["errors"] or "ETIMEDOUT" in asked["errors"])
    if again > HELD and given_up:
        yield Finding("retries", place, again,
                      f"{what} were made {1 / (1 - again):.2g} times each, as no answer came in {written('_s', asked['timeout_s'])}: "
                      "who is asked works on what nobody waits for any more, and so it goes on once it has begun",
                      f"fewer retries, pauses before them that are much longer than the timeout (backoff), or a longer timeout ({key})")


def _all(n: int, one: str, many: str = "") -> str:
    """All `n` of something were …, in words."""
    return f"its one {one} was" if n == 1 else f"its {n} {many or one + 's'} were"


def _held_by_calls(app: Mapping[str, Any], seconds: float) -> tuple[float, str]:
    """The share of its workers' time that they wait for others, and for whom most."""
    if not app["calls"] or app["async"]:
        return 0.0, ""
    spent = {to: call["answered"] * call["response_s"].get("mean", 0.0) for to, call in app["calls"].items()}
    longest = dict[int, float]()                # of those side by side
    for to, call in app["calls"].items():
        longest[call["stage"]] = max(longest.get(call["stage"], 0.0), spent[to])
    return min(sum(longest.values()) / (app["busy"] * seconds), 1.0), max(spent, key=lambda to: spent[to])


_ERRNO = {"ECONNREFUSED": "nobody listens there", "ETIMEDOUT": "no answer came", "ECONNRESET": "the connection was reset",
          "EADDRNOTAVAIL": "all its local ports are in use towards there: net.ipv4.ip_local_port_range",
          "ENETUNREACH": "there is no route: is it on internal networks only?", "EHOSTUNREACH": "nobody has that address"}


def _workloads(summary: Mapping[str, Any]) -> Iterator[Finding]:
    for i, w in enumerate(summary["workloads"]):
        place = f"workloads.{i}"
        name = title(w)
        errors, tried = _errors(w)
        for error, n in errors.items():
            share = n / max(tried, 1)
            why = next((text for name, text in _ERRNO.items() if name in error), "")
            yield Finding("failed", place, share, f"{name}: {n} of {tried} failed with {error}" + (f" ({why})" if why else ""))
        if w.get("retried"):
            yield from _retries(w, tried, place, f"{name}: its requests", f"x-simcore.workloads.{i}")
        if w.get("stalled"):
            yield Finding("stalled", place, w["stalled"] / max(tried, 1), f"{name}: {w['stalled']} of {tried} requests had been waiting "
                          "much longer than others when the run ended")
        if loss := w.get("loss"):
            lost = loss * w["sent"]
            under_way = w["sent"] - w["received"] - lost            # an expectation; more of them are no loss yet
            if lost >= 0.5 and lost > 3 * math.sqrt(max(0.0, under_way)):
                yield Finding("datagrams-lost", place, loss, f"{name}: {loss:.1%} of its datagrams did not arrive")
        if (rtts := w.get("rtt_s")) and None in rtts:
            lost = rtts.count(None)
            yield Finding("pings-lost", place, lost / len(rtts), f"{name}: {lost} of {len(rtts)} pings had no answer")


def _windows(summary: Mapping[str, Any]) -> Iterator[Finding]:
    """Uploads that were held back by an end's memory: where a link is full, that would only make its queue longer."""
    if any(link["utilisation"] >= BUSY for link in summary["links"].values()):
        return
    for i, w in enumerate(summary["workloads"]):
        flows = [f for f in w.get("flows", [w]) if f.get("limited_s", {}).get("busy")]
        busy = sum(f["limited_s"]["busy"] for f in flows)
        for what, (key, whose, cure) in _MEMORY.items():
            share = sum(f["limited_s"][what] for f in flows) / busy if busy else 0.0
            if share >= HELD:
                rtt = max(f["srtt_s"] for f in flows)
                yield Finding(key, f"workloads.{i}", 0.5 * share,
                              f"{title(w)}: for {share:.0%} of the time that there was something to send, {whose} held it back, whatever "
                              f"the path could carry: no more than that is sent in a round trip ({written('_s', rtt)})", cure)


_MEMORY = {
    "rwnd": ("receive-window", "the receiver's window",
             "a larger third number of net.ipv4.tcp_rmem, in the receiver's sysctls, or a receiver that reads faster: a window takes up "
             "to two thirds of it, and a path needs its rate times its round-trip time"),
    "sndbuf": ("send-buffer", "its own send buffer",
               "a larger third number of net.ipv4.tcp_wmem, in the sender's sysctls, or several flows at a time, each with its own"),
}


def _errors(w: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """How often each error came up, of how many tries."""
    if "error" in w:
        return {str(w["error"]): 1}, 1
    if w["kind"] == "load":
        return dict(w.get("errors", {})), w.get("requests_done", 0) + w.get("failed", 0) + w.get("unanswered", 0)
    results = w.get("requests") or w.get("lookups") or w.get("flows") or []
    errors: dict[str, int] = {}
    for r in results:
        if r.get("error"):
            errors[r["error"]] = errors.get(r["error"], 0) + 1
    return errors, len(results)
