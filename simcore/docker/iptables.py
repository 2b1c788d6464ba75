"""The rules that Docker Engine writes for its networks and published ports, as it has written them up to 27 and since 28."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from natfast import Rules


@dataclass(frozen=True)
class Published:
    """A published port: `host_address:host_port` to a container's `address:port`."""

    bridge: str
    address: str
    port: int
    host_port: int
    protocol: str = "tcp"
    host_address: str = ""


@dataclass(frozen=True)
class Bridge:
    """A network as its rules see it; nothing crosses the edge of an internal one."""

    interface: str
    subnet: str
    internal: bool = False
    masquerade: bool = True
    icc: bool = True


def docker_rules(bridges: Sequence[Bridge], published: Sequence[Published], userland_proxy: bool = True, engine: int = 27,
                 endpoints: Sequence[tuple[str, str]] = ()) -> Rules:
    """The ruleset for bridges, the oldest first, and containers' ports, in the order that they were started in.

    With the userland proxy off, hairpin traffic is translated too, and host-local destinations go through
    the DOCKER chain even for 127.0.0.0/8.

    Parameters
    ----------
    endpoints : sequence of (str, str)
        Containers' addresses and the bridges that they are on: since 28 none is reached past its bridge.
    """
    containers = {address: i for i, address in enumerate(dict.fromkeys(p.address for p in published))}
    ports = sorted(published, key=lambda p: (containers[p.address], p.port, p.protocol, p.host_port))
    of_containers = list({(p.address, p.port, p.protocol): p for p in ports}.values())      # which several host ports may lead to
    opened = [f"-A DOCKER -d {p.address}/32 ! -i {p.bridge} -o {p.bridge} -p {p.protocol} -m {p.protocol} --dport {p.port} -j ACCEPT"
              for p in of_containers]
    chains, filters = (_filter_27 if engine < 28 else _filter_28)(bridges, opened)
    tables = {"nat": (["DOCKER"], _nat(bridges, ports, of_containers, userland_proxy, engine)), "filter": (chains, filters)}
    if engine >= 28 and endpoints:
        tables["raw"] = [], _raw(ports, endpoints)
    text = []
    for table, (own, rules) in tables.items():
        policies = {chain: "DROP" if (table, chain) == ("filter", "FORWARD") else "ACCEPT" for chain in CHAINS[table]}
        text += [f"*{table}", *(f":{chain} {policy} [0:0]" for chain, policy in policies.items()),
                 *(f":{chain} - [0:0]" for chain in own), *rules, "COMMIT"]
    return Rules.from_iptables_save("\n".join(text), "docker")


def _nat(bridges: Sequence[Bridge], ports: Sequence[Published], of_containers: Sequence[Published], userland_proxy: bool,
         engine: int) -> list[str]:
    local = " ! -d 127.0.0.0/8" if userland_proxy else ""
    rules = ["-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER", f"-A OUTPUT{local} -m addrtype --dst-type LOCAL -j DOCKER"]
    for b in reversed(bridges):
        if not b.internal and not userland_proxy:
            rules.append(f"-A POSTROUTING -o {b.interface} -m addrtype --src-type LOCAL -j MASQUERADE")
        if not b.internal and b.masquerade:
            rules.append(f"-A POSTROUTING -s {b.subnet} ! -o {b.interface} -j MASQUERADE")
    if engine < 28 or not userland_proxy:
        rules += [f"-A POSTROUTING -s {p.address}/32 -d {p.address}/32 -p {p.protocol} -m {p.protocol} --dport {p.port} -j MASQUERADE"
                  for p in of_containers]
    if userland_proxy:
        rules += [f"-A DOCKER -i {b.interface} -j RETURN" for b in reversed(bridges) if b.masquerade and not b.internal]
    for p in ports:
        to = f" -d {p.host_address}/32" if p.host_address else ""
        iif = f" ! -i {p.bridge}" if userland_proxy else ""
        rules.append(f"-A DOCKER{to}{iif} -p {p.protocol} -m {p.protocol} --dport {p.host_port} "
                     f"-j DNAT --to-destination {p.address}:{p.port}")
    return rules


def _edge(b: Bridge) -> list[str]:
    """What keeps an internal network in."""
    return [f"-A DOCKER-ISOLATION-STAGE-1 ! {end} {b.subnet} {way} {b.interface} -j DROP" for end, way in (("-s", "-o"), ("-d", "-i"))]


def _apart(bridges: Sequence[Bridge]) -> list[str]:
    """What keeps networks from each other, for those that have left one."""
    return [f"-A DOCKER-ISOLATION-STAGE-2 -o {b.interface} -j DROP" for b in reversed(bridges) if not b.internal]


def _leaving(b: Bridge) -> str:
    return f"-A DOCKER-ISOLATION-STAGE-1 -i {b.interface} ! -o {b.interface} -j DOCKER-ISOLATION-STAGE-2"


def _filter_27(bridges: Sequence[Bridge], opened: list[str]) -> tuple[list[str], list[str]]:
    """Chains and rules: of each network before those of the ones that are older."""
    forward, one = ["-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1"], list[str]()
    shut = [f"-A FORWARD -i {b.interface} -o {b.interface} -j DROP" for b in bridges if not b.icc]
    for b in reversed(bridges):
        name = b.interface
        if not b.internal:
            forward += [f"-A FORWARD -o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                        f"-A FORWARD -o {name} -j DOCKER", f"-A FORWARD -i {name} ! -o {name} -j ACCEPT"]
        if b.icc:
            forward.append(f"-A FORWARD -i {name} -o {name} -j ACCEPT")
        one += _edge(b) if b.internal else [_leaving(b)]
    return (["DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-USER"],
            [*forward, *shut, *opened, *one, "-A DOCKER-ISOLATION-STAGE-1 -j RETURN", *_apart(bridges),
             "-A DOCKER-ISOLATION-STAGE-2 -j RETURN", "-A DOCKER-USER -j RETURN"])


def _filter_28(bridges: Sequence[Bridge], opened: list[str]) -> tuple[list[str], list[str]]:
    """Chains and rules: what goes into a network is asked first, whatever the network, then what leaves one."""
    outward = [b for b in bridges if not b.internal]
    forward = [f"-A DOCKER-FORWARD -j {chain}" for chain in ("DOCKER-CT", "DOCKER-ISOLATION-STAGE-1", "DOCKER-BRIDGE")]
    for b in bridges:
        name = b.interface
        if b.internal or not b.icc:
            forward.append(f"-A DOCKER-FORWARD -i {name} -o {name} -j {'ACCEPT' if b.icc else 'DROP'}")
        if not b.internal:
            forward.append(f"-A DOCKER-FORWARD -i {name}{'' if b.icc else f' ! -o {name}'} -j ACCEPT")
    return (["DOCKER", "DOCKER-BRIDGE", "DOCKER-CT", "DOCKER-FORWARD", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2",
             "DOCKER-USER"],
            ["-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-FORWARD", *reversed(opened),
             *(f"-A DOCKER ! -i {b.interface} -o {b.interface} -j DROP" for b in outward),
             *(f"-A DOCKER-BRIDGE -o {b.interface} -j DOCKER" for b in outward),
             *(f"-A DOCKER-CT -o {b.interface} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT" for b in outward),
             *forward, *(rule for b in reversed(bridges) if b.internal for rule in _edge(b)), *map(_leaving, outward), *_apart(bridges)])


def _raw(ports: Sequence[Published], endpoints: Sequence[tuple[str, str]]) -> list[str]:
    """What comes for a container's own address past its bridge is dropped; so is, from elsewhere, what is published on 127.0.0.1."""
    local: dict[str, list[str]] = {}
    for p in ports:
        if p.host_address.startswith("127."):
            local.setdefault(p.address, []).append(
                f"-A PREROUTING -d {p.host_address}/32 ! -i lo -p {p.protocol} -m {p.protocol} --dport {p.host_port} -j DROP")
    return [rule for address, bridge in endpoints
            for rule in (f"-A PREROUTING -d {address}/32 ! -i {bridge} -j DROP", *local.get(address, []))]


def with_lines(rules: Rules, lines: Sequence[str]) -> Rules:
    """Rules with more of them, written as on the command line: `-t nat -I POSTROUTING ...`, `-A FORWARD ...`.

    Raises
    ------
    ValueError
        For a line that neither appends nor inserts, or a table or chain that does not exist.
    natfast.errors.RulesError
        For a rule that natfast does not know.
    """
    text = rules.to_iptables_save().splitlines()
    for line in lines:
        words = line.split()
        table = "filter"
        if words[:1] == ["-t"] and len(words) > 1:
            table, words = words[1], words[2:]
        if len(words) < 2 or words[0] not in ("-A", "-I"):
            raise ValueError(f"{line!r}: expected a rule as `-A FORWARD ...` or `-t nat -I POSTROUTING ...`")
        if f"*{table}" not in text:
            if table not in CHAINS:
                raise ValueError(f"{line!r}: there is no table {table!r}")
            text += [f"*{table}", *(f":{chain} ACCEPT [0:0]" for chain in CHAINS[table]), "COMMIT"]
        begin = text.index(f"*{table}")
        end = text.index("COMMIT", begin)
        if not any(t.startswith(f":{words[1]} ") for t in text[begin:end]):
            raise ValueError(f"{line!r}: table {table} has no chain {words[1]!r}")
        first = next((i for i in range(begin, end) if text[i].startswith("-A")), end)
        text.insert(first if words[0] == "-I" else end, " ".join(["-A", *words[1:]]))
    return Rules.from_iptables_save("\n".join(text), "iptables")


CHAINS = {"filter": ("INPUT", "FORWARD", "OUTPUT"), "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
          "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"), "raw": ("PREROUTING", "OUTPUT")}
EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
