"""The rules that Docker Engine (up to 27) writes for its networks and published ports."""
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


def docker_rules(bridges: Sequence[Bridge], published: Sequence[Published], userland_proxy: bool = True) -> Rules:
    """The ruleset for bridges, the oldest first.

    With the userland proxy off, hairpin traffic is translated too, and host-local destinations go through
    the DOCKER chain even for 127.0.0.0/8.
    """
    closed = [b for b in bridges if b.internal]
    outward = [b for b in bridges if not b.internal]
    translated = [b for b in outward if b.masquerade]
    local = "" if not userland_proxy else " ! -d 127.0.0.0/8"
    nat = ["-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
           f"-A OUTPUT{local} -m addrtype --dst-type LOCAL -j DOCKER"]
    nat += [f"-A POSTROUTING -s {b.subnet} ! -o {b.interface} -j MASQUERADE" for b in reversed(translated)]
    if not userland_proxy:
        nat += [f"-A POSTROUTING -o {b.interface} -m addrtype --src-type LOCAL -j MASQUERADE" for b in outward]
    nat += [f"-A POSTROUTING -s {p.address}/32 -d {p.address}/32 -p {p.protocol} -m {p.protocol} --dport {p.port} -j MASQUERADE"
            for p in published]
    if userland_proxy:
        nat += [f"-A DOCKER -i {b.interface} -j RETURN" for b in translated]
    for p in published:
        to = f" -d {p.host_address}/32" if p.host_address else ""
        iif = f" ! -i {p.bridge}" if userland_proxy else ""
        nat.append(f"-A DOCKER{to}{iif} -p {p.protocol} -m {p.protocol} --dport {p.host_port} "
                   f"-j DNAT --to-destination {p.address}:{p.port}")
    forward = ["-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-ISOLATION-STAGE-1"]
    for b in bridges:
        name = b.interface
        if not b.internal:
            forward += [f"-A FORWARD -o {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
                        f"-A FORWARD -o {name} -j DOCKER", f"-A FORWARD -i {name} ! -o {name} -j ACCEPT"]
        forward.append(f"-A FORWARD -i {name} -o {name} -j {'ACCEPT' if b.icc else 'DROP'}")
    docker = [f"-A DOCKER -d {p.address}/32 ! -i {p.bridge} -o {p.bridge} -p {p.protocol} -m {p.protocol} --dport {p.port} -j ACCEPT"
              for p in published]
    one = [f"-A DOCKER-ISOLATION-STAGE-1 ! {way[0]} {b.subnet} {way[1]} {b.interface} -j DROP"
           for b in closed for way in (("-s", "-o"), ("-d", "-i"))]
    one += [f"-A DOCKER-ISOLATION-STAGE-1 -i {b.interface} ! -o {b.interface} -j DOCKER-ISOLATION-STAGE-2" for b in outward]
    two = [f"-A DOCKER-ISOLATION-STAGE-2 -o {b.interface} -j DROP" for b in outward]
    text = ["*nat", ":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]",
            ":DOCKER - [0:0]", *nat, "COMMIT", "*filter", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":OUTPUT ACCEPT [0:0]",
            ":DOCKER - [0:0]", ":DOCKER-ISOLATION-STAGE-1 - [0:0]", ":DOCKER-ISOLATION-STAGE-2 - [0:0]",
            ":DOCKER-USER - [0:0]", *forward, *docker, *one, "-A DOCKER-ISOLATION-STAGE-1 -j RETURN", *two,
            "-A DOCKER-ISOLATION-STAGE-2 -j RETURN", "-A DOCKER-USER -j RETURN", "COMMIT"]
    return Rules.from_iptables_save("\n".join(text), "docker")


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
