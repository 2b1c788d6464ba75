class Tap: ...

class Interface:
    name: str
    place: str
    index: int
    kind: int
    number: int
    port: int
    mtu: int
    up: bool
    hairpin: bool
    forwarding: bool
    route_localnet: bool
    send_redirects: bool
    rp_filter: int
    master: Interface | None
    members: list[Interface]
    addresses: list[str]
    tap: Tap | None
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int
    @property
    def mac_address(self) -> str: ...
