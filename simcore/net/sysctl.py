"""A namespace's settings: their names as Linux has them, what they are unless set, and what they may be."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from natfast.sysctl import NAMES, check_sysctl

Value = float | int | str

MACHINE = {"net.ipv4.neigh.default.gc_thresh1": 128, "net.ipv4.neigh.default.gc_thresh2": 512,
           "net.ipv4.neigh.default.gc_thresh3": 1024}
"""Settings, with Linux's defaults, that are a whole machine's and no single namespace's; see `simcore.net.neighbours`."""


@dataclass(frozen=True)
class Number:
    """A setting between two bounds."""

    default: int
    most: float = 2**31 - 1
    least: float = 0

    def check(self, value: Value) -> None:
        """Raise ValueError, saying what was expected."""
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not self.least <= number <= self.most:
            raise ValueError(f"expected a number from {self.least:.0f} to {self.most:.0f}, got {value!r}")


@dataclass(frozen=True)
class OneOf:
    """A setting that is one of some words."""

    default: str
    words: tuple[str, ...]

    def check(self, value: Value) -> None:
        """Raise ValueError, saying what was expected."""
        if value not in self.words:
            raise ValueError(f"expected one of {', '.join(self.words)}, got {value!r}")


@dataclass(frozen=True)
class Ascending:
    """A setting that is several numbers, none less than the one before it."""

    default: str
    what: str
    most: int

    def check(self, value: Value) -> None:
        """Raise ValueError, saying what was expected."""
        words = str(value).split()
        given = [int(w) if w.isdigit() else 0 for w in words]
        if len(given) != len(self.default.split()) or not 1 <= given[0] <= given[-1] <= self.most or given != sorted(given):
            raise ValueError(f"expected {self.what}, as '{self.default}', got {value!r}")


@lru_cache
def numbers(value: str) -> tuple[int, ...]:
    """What a setting of several numbers says."""
    return tuple(int(word) for word in value.split())


_FLAG = 1
_SIZES = "three sizes in bytes, the least, the first and the greatest"
_SETTINGS: Mapping[str, Number | OneOf | Ascending] = {
    "net.ipv4.ip_forward": Number(0, _FLAG), "net.ipv4.conf.all.rp_filter": Number(0, 2),
    "net.ipv4.conf.all.send_redirects": Number(1, _FLAG), "net.ipv4.conf.all.route_localnet": Number(0, _FLAG),
    "net.ipv4.icmp_ratelimit": Number(1000), "net.ipv4.ip_default_ttl": Number(64, 255, 1),
    "net.ipv4.ipfrag_time": Number(30), "net.ipv4.ipfrag_high_thresh": Number(4 << 20), "net.ipv4.ipfrag_max_dist": Number(64),
    "net.bridge.bridge-nf-call-iptables": Number(1, _FLAG),
    "net.ipv4.ip_local_port_range": Ascending("32768 60999", "two ports, the first and the last", 65535),
    "tcp_cubic.tcp_friendliness": Number(1, _FLAG),     # a module's parameter, written as on the kernel's command line
    "net.ipv4.tcp_congestion_control": OneOf("cubic", ("cubic", "linux-cubic", "reno", "dctcp", "bbr")), "net.ipv4.tcp_ecn": Number(2, 2),
    "net.ipv4.tcp_sack": Number(1, _FLAG), "net.ipv4.tcp_timestamps": Number(1, 2), "net.ipv4.tcp_window_scaling": Number(1, _FLAG),
    "net.ipv4.tcp_slow_start_after_idle": Number(1, _FLAG), "net.ipv4.tcp_mtu_probing": Number(0, 2),
    "net.ipv4.tcp_rmem": Ascending("4096 131072 33554432", _SIZES, 2**31 - 1),
    "net.ipv4.tcp_wmem": Ascending("4096 16384 4194304", _SIZES, 2**31 - 1),
    "net.ipv4.tcp_moderate_rcvbuf": Number(1, _FLAG),
    "net.ipv4.tcp_retries2": Number(15, 255),
    "net.ipv4.tcp_syn_retries": Number(6, 127, 1), "net.ipv4.tcp_fin_timeout": Number(60),
    **{name: Number(default) for name, default in MACHINE.items()},
}
DEFAULTS: Mapping[str, Value] = {name: setting.default for name, setting in _SETTINGS.items()}
"""What a namespace has unless told otherwise; conntrack's are natfast's (`natfast.sysctl.NAMES`)."""

_OF_INTERFACES = {"rp_filter": Number(0, 2), "route_localnet": Number(0, _FLAG),
                  "send_redirects": Number(1, _FLAG), "forwarding": Number(0, _FLAG)}


def known(name: str) -> bool:
    """Has a namespace a setting of this name?"""
    return name in _SETTINGS or name in NAMES or _of_interface(name) is not None


def check(settings: Mapping[str, Value]) -> None:
    """See to it that a namespace can have these settings.

    Raises
    ------
    ValueError
        Naming the first that is not known, or has a value that it cannot have.
    """
    for name, value in settings.items():
        if name in NAMES:
            check_sysctl(name, value)
            continue
        setting = _SETTINGS.get(name) or _of_interface(name)
        if setting is None:
            near = get_close_matches(name, [*_SETTINGS, *NAMES], 3, 0.5)
            raise ValueError(f"sysctl {name} is not known here" + (f"; the nearest are {', '.join(near)}" if near else ""))
        try:
            setting.check(value)
        except ValueError as error:
            raise ValueError(f"sysctl {name}: {error}") from None


def _of_interface(name: str) -> Number | None:
    """`net.ipv4.conf.INTERFACE.…`, also of `default`."""
    prefix, _, last = name.rpartition(".")
    return _OF_INTERFACES.get(last) if prefix.startswith("net.ipv4.conf.") else None
