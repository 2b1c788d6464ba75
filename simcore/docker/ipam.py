"""Addresses of a bridge network, as Docker's default IPAM hands them out."""
from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

DOCKER0 = "172.17.0.0/16"
"""Of the default bridge."""


def default_subnets() -> Iterator[ipaddress.IPv4Network]:
    """What networks that say no subnet get, in turn, if nothing else overlaps it: Docker's default-address-pools, but for docker0's."""
    yield from (n for n in ipaddress.IPv4Network("172.16.0.0/12").subnets(new_prefix=16) if n > ipaddress.IPv4Network(DOCKER0))
    yield from ipaddress.IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


class IpamError(ValueError):
    """A subnet or address that cannot be used."""


class Pool:
    """A subnet: the first address is the gateway, containers get the lowest free one.

    Parameters
    ----------
    subnet : str
        CIDR.
    gateway : str, optional
    ip_range : str, optional
        The part of the subnet that addresses come from unless wanted; its first one is the gateway then.
    reserved : iterable of str
        Addresses that nobody gets.

    Raises
    ------
    IpamError

    >>> pool = Pool("172.17.0.0/16")
    >>> pool.gateway, pool.allocate("web"), pool.allocate("db")
    ('172.17.0.1', '172.17.0.2', '172.17.0.3')
    """

    def __init__(self, subnet: str, gateway: str | None = None, ip_range: str | None = None, reserved: Iterable[str] = ()) -> None:
        self.network = _cidr(subnet)
        if self.network.num_addresses < 4:
            raise IpamError(f"subnet {subnet} has no room for containers")
        part = self.network if ip_range is None else _cidr(ip_range)
        if not part.subnet_of(self.network):
            raise IpamError(f"range {ip_range} is no part of {subnet}")
        self.first = max(int(part.network_address), int(self.network.network_address) + 1)
        self.last = min(int(part.broadcast_address), int(self.network.broadcast_address) - 1)
        self.used: dict[int, str] = {}
        for address in reserved:
            self.allocate("aux_addresses", address)
        self.gateway = self.allocate("gateway", gateway)

    @property
    def prefix(self) -> int:
        """Length of the subnet's prefix."""
        return self.network.prefixlen

    def allocate(self, owner: str, address: str | None = None) -> str:
        """Take `address`, or the lowest free one.

        Raises
        ------
        IpamError
            If it is outside the subnet or taken, or none is left.
        """
        if address is not None:
            try:
                wanted = ipaddress.IPv4Address(address)
            except ValueError:
                raise IpamError(f"{address!r} is not an IPv4 address") from None
            if wanted not in self.network or wanted in (self.network.network_address, self.network.broadcast_address):
                raise IpamError(f"address {address} is not a host address of {self.network}")
            if int(wanted) in self.used:
                raise IpamError(f"address {address} is taken by {self.used[int(wanted)]}")
            self.used[int(wanted)] = owner
            return str(wanted)
        for n in range(self.first, self.last + 1):
            if n not in self.used:
                self.used[n] = owner
                return str(ipaddress.IPv4Address(n))
        raise IpamError(f"no address is left in {self.network}")

    def release(self, address: str) -> None:
        """Give an address back."""
        self.used.pop(int(ipaddress.IPv4Address(address)), None)


def _cidr(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise IpamError(f"{text!r} is not a subnet in CIDR notation, as 172.17.0.0/16 ({error})") from None


def mac_of(address: str) -> str:
    """The MAC that Docker derives from a container's address: 02:42 and the four bytes."""
    return "02:42:" + ipaddress.IPv4Address(address).packed.hex(":")
