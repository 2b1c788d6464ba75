"""Settings by Linux's names: what is known, and what a value may be."""
from __future__ import annotations

from pathlib import Path

import pytest
from simcore.transport.congestion import ALGORITHMS

from simcore.docker.compose import load
from simcore.errors import ScenarioError
from simcore.net import sysctl

MISTAKES = [
    ("net.netfilter.nf_conntrack_mux", 5, "nf_conntrack_mux is not known here; the nearest are net.netfilter.nf_conntrack_max"),
    ("net.core.somaxconn", 4096, "net.core.somaxconn is not known here"),
    ("net.netfilter.nf_conntrack_max", "many", "nf_conntrack_max: expected a number, got 'many'"),
    ("net.ipv4.icmp_ratelimit", "fast", "icmp_ratelimit: expected a number from 0 to 2147483647, got 'fast'"),
    ("net.ipv4.ip_default_ttl", 256, "ip_default_ttl: expected a number from 1 to 255, got 256"),
    ("net.ipv4.ip_local_port_range", "60000 50000", "expected two ports, the first and the last"),
    ("net.ipv4.ip_local_port_range", 32768, "expected two ports, the first and the last"),
    ("net.ipv4.tcp_congestion_control", "vegas", "expected one of cubic, linux-cubic, reno, dctcp, bbr, got 'vegas'"),
    ("net.ipv4.conf.eth0.rp_filter", 3, "net.ipv4.conf.eth0.rp_filter: expected a number from 0 to 2"),
    ("net.ipv4.neigh.default.gc_thresh3", -1, "gc_thresh3: expected a number from 0"),
]


@pytest.mark.parametrize(("name", "value", "text"), MISTAKES)
def test_mistakes_are_named_with_their_key(tmp_path: Path, name: str, value: float | str, text: str) -> None:
    with pytest.raises(ValueError, match=r"^sysctl ") as found:
        sysctl.check({"net.ipv4.ip_forward": 1, name: value})
    assert text in str(found.value)
    path = tmp_path / "f.yaml"
    path.write_text(f"services: {{a: {{}}}}\nx-simcore: {{host: {{sysctls: {{{name}: {value}}}}}}}\n")
    with pytest.raises(ScenarioError, match=r"f\.yaml: x-simcore\.host\.sysctls: sysctl "):
        load(path)
    path.write_text(f"services: {{a: {{sysctls: {{{name}: {value}}}}}}}\n")
    if "not known" in text:
        load(path)                          # a container's other settings are no mistake
    else:
        with pytest.raises(ScenarioError, match=r"f\.yaml: services\.a\.sysctls: sysctl "):
            load(path)


def test_every_default_is_one_that_may_be() -> None:
    sysctl.check(sysctl.DEFAULTS)
    assert all(sysctl.known(name) for name in sysctl.DEFAULTS)
    for algorithm in ALGORITHMS:
        sysctl.check({"net.ipv4.tcp_congestion_control": algorithm})
    with pytest.raises(ValueError, match="expected one of"):
        sysctl.check({"net.ipv4.tcp_congestion_control": "".join(ALGORITHMS)})


def test_what_is_the_machines_is_no_containers() -> None:
    assert sysctl.known("net.ipv4.conf.default.forwarding")
    assert set(sysctl.MACHINE) <= set(sysctl.DEFAULTS)
