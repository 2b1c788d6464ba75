"""Options of a bridge network, under the names that Docker's bridge driver has for them."""
from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "com.docker.network."
LONGEST_NAME = 15
"""Characters of an interface's name (IFNAMSIZ less the end)."""


@dataclass(frozen=True)
class BridgeOptions:
    """How a bridge network is set up.

    Parameters
    ----------
    interface : str
        The bridge's; "" for the one that goes with the network's name.
    mtu : int
        Of the bridge and of every veth on it, bytes.
    masquerade : bool
        Whether what leaves it gets the host's address.
    icc : bool
        Whether its containers may talk to each other.
    host_address : str
        Where on the host ports are published that name no address; "" or 0.0.0.0 for all of its addresses.
    container_prefix : str
        Of the names of interfaces in containers.
    """

    interface: str = ""
    mtu: int = 1500
    masquerade: bool = True
    icc: bool = True
    host_address: str = ""
    container_prefix: str = "eth"


def parse_options(options: Mapping[str, Any]) -> tuple[BridgeOptions, list[str]]:
    """The options, and the names of those that mean nothing here.

    Raises
    ------
    ValueError
        For a value that is none.
    """
    known: dict[str, Any] = {}
    others = []
    for name, value in options.items():
        field, read = _NAMES.get(name.removeprefix(PREFIX) if name.startswith(PREFIX) else "", ("", str))
        if not field:
            others.append(name)
            continue
        try:
            known[field] = read(str(value))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return BridgeOptions(**known), others


def _interface(value: str) -> str:
    if not value or len(value) > LONGEST_NAME or "/" in value or any(c.isspace() for c in value):
        raise ValueError(f"{value!r} is no name of an interface: expected up to {LONGEST_NAME} characters, no space and no /")
    return value


def _mtu(value: str) -> int:
    if not value.isdecimal() or not 68 <= int(value) <= 65535:
        raise ValueError(f"{value!r}: expected 68 to 65535 bytes")
    return int(value)


def _switch(value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise ValueError(f"{value!r}: expected true or false")
    return value.lower() in ("true", "1", "t")


def _host_address(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 address") from None


_NAMES = {"driver.mtu": ("mtu", _mtu), "bridge.name": ("interface", _interface),
          "bridge.enable_ip_masquerade": ("masquerade", _switch), "bridge.enable_icc": ("icc", _switch),
          "bridge.host_binding_ipv4": ("host_address", _host_address), "container_iface_prefix": ("container_prefix", _interface)}
