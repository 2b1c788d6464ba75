"""Links as the scenario file describes them."""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from simcore.docker.model import Count, Model, Rate, Seconds, Share
from simcore.net.cable import LinkParameters


class LinkSpec(Model):
    """One kind of link: what it is like away from the container (host, router), and in `reverse` what differs the other way."""

    rate: Rate = 0.0
    latency: Seconds = 0.0
    queue: Count = 1000
    qdisc: str | dict[str, Any] | None = None
    jitter: Seconds = 0.0
    jitter_correlation: Share = Field(default=0.0, alias="jitter-correlation")
    distribution: Literal["uniform", "normal", "pareto", "paretonormal"] = "uniform"
    loss: Share | dict[Literal["p", "r", "1-h", "1-k"], Share] = 0.0
    loss_correlation: Share = Field(default=0.0, alias="loss-correlation")
    duplicate: Share = 0.0
    corrupt: Share = 0.0
    reorder: Share = 0.0
    gap: Annotated[int, Field(ge=1, le=1 << 30)] = 1
    reverse: LinkSpec | None = None

    @model_validator(mode="after")
    def _possible(self) -> LinkSpec:
        self.parameters().check()
        return self

    def parameters(self, outer: LinkSpec | None = None) -> LinkParameters:
        """What the links are made from; a reverse direction takes over what it does not say."""
        said = {**({k: getattr(outer, k) for k in outer.model_fields_set if k != "reverse"} if outer else {}),
                **{k: getattr(self, k) for k in self.model_fields_set if k != "reverse"}}
        netem = {k: v for k, v in said.items() if k in _NETEM}
        return LinkParameters(said.get("rate", 0.0), said.get("latency", 0.0), said.get("queue", 1000), said.get("qdisc"), netem,
                              self.reverse.parameters(self) if self.reverse else None)


_NETEM = ("jitter", "jitter_correlation", "distribution", "loss", "loss_correlation", "duplicate", "corrupt", "reorder", "gap")


class LinkChange(LinkSpec):
    """What an event changes: what it does not name stays, but impairments are set together, as `tc qdisc change` does."""

    reverse: None = None

    @model_validator(mode="after")
    def _something(self) -> LinkChange:
        if "qdisc" in self.model_fields_set and self.qdisc is None:
            raise ValueError("qdisc: expected a kind; pfifo is a plain queue")
        return self

    def changes(self) -> dict[str, Any]:
        """For `simcore.net.cable.change`."""
        said = {k: getattr(self, k) for k in self.model_fields_set if k not in _NETEM}
        netem = {k: getattr(self, k) for k in self.model_fields_set if k in _NETEM}
        return {**said, **({"netem": {k: v for k, v in netem.items() if v}} if netem else {})}


USUAL: dict[str, dict[str, Any]] = {"container": {"rate": "10Gbit", "latency": "5us"}, "host": {"rate": "1Gbit", "latency": "50us"},
                                    "server": {"rate": "1Gbit", "latency": "10ms"}}
"""What links are like that a file says nothing of."""


class Links(Model):
    """The links of the reference topology."""

    container: LinkSpec = LinkSpec(**USUAL["container"])
    host: LinkSpec = LinkSpec(**USUAL["host"])
    server: LinkSpec = LinkSpec(**USUAL["server"])


IDEAL = Links(container=LinkSpec(), host=LinkSpec(), server=LinkSpec())
"""Neither delay nor loss, and no limit."""
