"""What a wire is like, and the two links that make one between devices."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from simcore.engine.calendar import Environment
from simcore.engine.random import Streams
from simcore.net.device import Device
from simcore.net.link import Link, plug
from simcore.net.netem import Netem
from simcore.net.qdisc import build


@dataclass(frozen=True)
class LinkParameters:
    """One direction of a wire, the same in the other unless `reverse` says otherwise.

    Attributes
    ----------
    rate, latency, queue
        bit/s (0: no limit), seconds, frames.
    qdisc
        As `simcore.net.qdisc.build` takes it; None for drop-tail of `queue` frames.
    netem
        Keyword arguments of `Netem`.
    reverse
        The other direction.
    """

    rate: float = 0.0
    latency: float = 0.0
    queue: int = 1000
    qdisc: str | Mapping[str, Any] | None = None
    netem: Mapping[str, Any] = field(default_factory=dict)
    reverse: LinkParameters | None = None

    def check(self) -> None:
        """Try what can only fail when links are made.

        Raises
        ------
        ValueError
            For a qdisc or an impairment that is none.
        """
        rng = Streams(0)["check"]
        if self.qdisc is not None:
            build(self.qdisc, rng)
        if self.netem:
            Netem(rng, **self.netem)
        if self.reverse is not None:
            self.reverse.check()


def make_link(env: Environment, streams: Streams, name: str, sink: Device, port: int, p: LinkParameters) -> Link:
    """One direction, with random streams of its own named after it."""
    qdisc = None if p.qdisc is None else build(p.qdisc, streams[f"link/{name}/qdisc"])
    netem = Netem(streams[f"link/{name}/netem"], **p.netem) if p.netem else None
    return Link(env, name, sink, port, p.rate, p.latency, p.queue, qdisc, netem)


def connect(env: Environment, streams: Streams, a: Device, port_a: int, name_a: str, b: Device, port_b: int, name_b: str,
            p: LinkParameters) -> dict[str, Link]:
    """Connect two ports both ways.

    Returns
    -------
    dict
        The links by the interface that sends into them: `name_a` for a to b, then `name_b`.
    """
    there = make_link(env, streams, name_a, b, port_b, replace(p, reverse=None))
    back = make_link(env, streams, name_b, a, port_a, p.reverse or p)
    plug(a, port_a, there)
    plug(b, port_b, back)
    return {name_a: there, name_b: back}


def change(link: Link, streams: Streams, changes: Mapping[str, Any], serial: int) -> None:
    """Change a running link by description: `rate`, `latency`, `queue`, `qdisc`, `netem` (None: none any more)."""
    values: dict[str, Any] = {k: changes[k] for k in ("rate", "latency") if k in changes}
    if "queue" in changes:
        values["limit"] = changes["queue"]
    if "qdisc" in changes:
        values["qdisc"] = build(changes["qdisc"], streams[f"link/{link.name}/qdisc/{serial}"])
    if "netem" in changes:
        values["netem"] = Netem(streams[f"link/{link.name}/netem/{serial}"], **changes["netem"]) if changes["netem"] else None
    link.set(**values)


def splice(env: Environment, there: Link, back: Link, device: Device) -> None:
    """Put a device with two ports into a wire, before anything is on it.

    Frames of `there` now arrive at the device's port 0 and those of `back` at its port 1; what it sends goes on to
    where they ended before, without delay.
    """
    (far, far_port), (near, near_port) = (there.sink, there.sink_port), (back.sink, back.sink_port)
    there.reconnect(device, 0)
    back.reconnect(device, 1)
    plug(device, 0, Link(env, f"{device.name}/0", near, near_port))
    plug(device, 1, Link(env, f"{device.name}/1", far, far_port))
