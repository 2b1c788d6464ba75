"""Where root: random conversations through this machine's kernel and through simcore, frame by frame.

Every run repeats the same ones, so that it judges the code alone; `LIVE_SEED` sets others (`new` draws a seed, which
is printed), `LIVE_CONVERSATIONS` how many.
"""
from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.all import Ether

from natfast import Rules
from simcore.replay import Box, same_frame, same_table
from tests.kernel.rig_up import RIG_MISSING, rig

ORACLE = Path(__file__).parent.parent / "data" / "oracle"
_SEED = os.environ.get("LIVE_SEED", "1")
SEED = random.SystemRandom().randrange(1 << 31) if _SEED == "new" else int(_SEED)
CONVERSATIONS = int(os.environ.get("LIVE_CONVERSATIONS", "600"))
KINDS = ("any", "tcp", "published", "sctp", "sctp-again", "gre", "udplite", "options", "icmp", "clash", "bridge", "mangled", "fragments")

pytestmark = pytest.mark.skipif(bool(RIG_MISSING), reason=RIG_MISSING or "-")


@pytest.fixture(scope="module", params=[1, 0], ids=["brnf1", "brnf0"])
def hosts(request: pytest.FixtureRequest) -> Iterator[tuple[Any, Box]]:
    """The rig up, and ours with the same settings."""
    with rig(request.param) as real:
        yield real, Box.load(ORACLE / ("box.json" if request.param else "box-brnf0.json"))


def by_wire(frames: list[tuple[str, bytes]]) -> dict[str, list[bytes]]:
    out: dict[str, list[bytes]] = {}
    for name, f in frames:
        out.setdefault(name, []).append(f)
    return out


def dissected(frames: dict[str, list[bytes]]) -> str:
    lines = [f"    {name}: {len(f)} bytes {f[:120].hex()}\n      {Ether(f).summary()}" for name, fs in frames.items() for f in fs]
    return "\n".join(lines) or "    nothing"


def own_report(line: str) -> bool:
    """The kernel's bridge joins multicast groups by itself, at times of its own."""
    return "dst=224.0.0.22 " in line


def without_draw(line: str, own: set[str]) -> str:
    """The entry of a connection that ends on the host without a port that was drawn for its answers: no frame tells which."""
    answers = re.search(r"sport=(\d+) dport=\d+ (?:\[UNREPLIED\] )?src=(\S+) dst=\S+ sport=\d+ dport=(\d+)", line)
    if answers is None or answers[2] not in own or answers[3] == answers[1]:
        return line
    return f"{line[:answers.start(3)]}*{line[answers.end(3):]}"


def left_behind(frame: bytes, steps: list[tuple[str, bytes]], own: set[str]) -> bool:
    """Does the host say of an earlier conversation that its fragments never became whole? That takes half a minute."""
    return (len(frame) >= 48 and frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34:36] == b"\x0b\x01" and ".".join(map(str, frame[26:30])) in own
            and not any(f[18:20] == frame[46:48] for _, f in steps))


def host_redirect(frame: bytes, own: set[str]) -> bool:
    """How many of these a host sends, depends on those of earlier conversations."""
    return frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x01" and frame[34:35] == b"\x05" and ".".join(map(str, frame[26:30])) in own


def conversation(real: Any, ours: Box, steps: list[tuple[str, bytes]], late: list[bytes] | None = None) -> str:
    """Send it through both; what differs first, empty if nothing does. `late` takes what earlier ones left behind."""
    late = [] if late is None else late
    real.reset()
    ours.reset()
    for i, (wire, frame) in enumerate(steps):
        real.wires[wire].send(frame)
        seen = real.drain(0.006)
        late += [f for _, f in seen if left_behind(f, steps, ours.addresses)]
        seen = [(name, f) for name, f in seen if f not in late]
        got = ours.inject(wire, frame, i * 0.001, observed=seen)
        want, have = (by_wire([(name, f) for name, f in out if not host_redirect(f, ours.addresses)]) for out in (seen, got))
        same = want.keys() == have.keys() and all(
            len(want[n]) == len(have[n]) and all(map(lambda a, b: same_frame(a, b, ours.addresses), want[n], have[n])) for n in want)
        if not same:
            prefix = "\n".join(f"    {w} {f.hex()}  {Ether(f).summary()}" for w, f in steps[:i + 1])
            return f"step {i + 1}\n  kernel\n{dissected(want)}\n  simcore\n{dissected(have)}\n  after\n{prefix}"
    table = [line for line in real.conntrack() if not own_report(line)]
    mine = ours.conntrack()
    if not same_table(*([without_draw(line, ours.addresses) for line in lines] for lines in (table, mine))):
        timeless = [{" ".join(line.split()[:2] + line.split()[3:]): line for line in lines} for lines in (table, mine)]
        only = [[line for key, line in a.items() if key not in b or line.split()[2] != b[key].split()[2]]
                for a, b in (timeless, timeless[::-1])]
        return "\n    ".join(["conntrack after the last step\n  only kernel", *only[0]]) + "\n    ".join(["\n  only simcore", *only[1]])
    return ""


def generator(kind: str) -> Callable[[random.Random], list[tuple[str, bytes]]]:
    import cases
    import kinds
    return cases.rand_case if kind == "any" else kinds.KINDS[kind]      # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
def test_random_conversations(hosts: tuple[Any, Box], kind: str) -> None:
    real, ours = hosts
    print(f"LIVE_SEED={SEED}")
    make = generator(kind)
    once = 0
    count = max(1, CONVERSATIONS // (2 * len(KINDS)))
    for k in range(count):
        steps = make(random.Random(f"{SEED}/{k}"))
        difference = conversation(real, ours, steps)
        if difference:
            again = next((d for n in range(1, len(steps) + 1) if (d := conversation(real, ours, steps[:n]))), "")
            if again:
                pytest.fail(f"LIVE_SEED={SEED} {kind} {k}: {again}")
            # the kernel answered later than we listened, or drew another port: it must stay an exception
            once += 1
            print(f"{kind} {k} differed once, not again: {difference}")
    assert once <= 1 + count // 50


SETTINGS = {
    "net.ipv4.conf.all.rp_filter": (0, 1, 2), "net.ipv4.conf.all.send_redirects": (0, 1), "net.ipv4.conf.all.route_localnet": (0, 1),
    "net.ipv4.ip_default_ttl": (64, 1, 2, 255), "net.ipv4.ip_forward": (1, 1, 1, 0),
    **{f"net.ipv4.conf.{name}.rp_filter": (0, 1, 2) for name in ("docker0", "eth0")},
    **{f"net.ipv4.conf.{name}.forwarding": (1, 1, 0) for name in ("docker0", "eth0")},
    **{f"net.netfilter.nf_conntrack_{name}": values for name, values in {
        "tcp_loose": (1, 0), "tcp_be_liberal": (0, 1), "tcp_ignore_invalid_rst": (0, 1), "checksum": (1, 0), "acct": (0, 1),
        "tcp_max_retrans": (3, 0, 1), "tcp_timeout_established": (432000, 200), "tcp_timeout_max_retrans": (300, 77),
        "tcp_timeout_unacknowledged": (300, 99), "tcp_timeout_syn_sent": (120, 400), "tcp_timeout_close": (10, 500),
        "udp_timeout": (30, 11), "icmp_timeout": (30, 700), "generic_timeout": (600, 44), "sctp_timeout_closed": (10, 55),
        "gre_timeout": (30, 66)}.items()}}
"""What a box may be told, the default first."""
NO_PROXY = {"-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n":
                "-A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n",
            "-A OUTPUT ! -d 127.0.0.0/8 -m": "-A OUTPUT -m", "-A DOCKER -i docker0 -j RETURN\n": "", "-A DOCKER ! -i docker0 -p tcp": "-A DOCKER -p tcp"}
"""What Docker writes otherwise where it runs without its userland proxy; it sets hairpin and route_localnet then."""


def test_random_settings(hosts: tuple[Any, Box]) -> None:
    """Every setting of a box, drawn: sysctls, hairpin ports, the MTU of the way out, with and without docker-proxy."""
    real, ours = hosts
    print(f"LIVE_SEED={SEED}")

    def set_up(sysctl: dict[str, int], hairpin: tuple[bool, ...], mtu: int, rules: str) -> None:
        def ip(*words: str) -> None:
            subprocess.run(["ip", *words], check=True)
        for port, on in zip(("vethc1", "vethc2"), hairpin, strict=True):
            ip("-n", "natbox", "link", "set", port, "type", "bridge_slave", "hairpin", "on" if on else "off")
        for namespace, link in (("natbox", "eth0"), ("natrig", "wan")):
            ip("-n", namespace, "link", "set", link, "mtu", str(mtu))
        ip("netns", "exec", "natbox", "sysctl", "-qw", *(f"{key}={value}" for key, value in sysctl.items()))
        subprocess.run(["ip", "netns", "exec", "natbox", "iptables-restore"], input=rules, text=True, check=True)

    plain = (ORACLE / "docker.v4").read_text()
    try:
        for k in range(max(1, CONVERSATIONS // 60)):
            rng = random.Random(f"{SEED}/settings/{k}")
            sysctl = {key: rng.choice(values) if rng.random() < 0.3 else values[0] for key, values in SETTINGS.items()}
            hairpin, mtu, rules = (rng.random() < 0.3, rng.random() < 0.3), rng.choice((1500, 1500, 1000, 576)), plain
            if rng.random() < 0.3:
                hairpin = (True, True)
                sysctl["net.ipv4.conf.all.route_localnet"] = 1
                for usual, without in NO_PROXY.items():
                    assert usual in rules
                    rules = rules.replace(usual, without)
            described = {name: dict(spec) for name, spec in ours.description["interfaces"].items()}
            described["vethc1"]["hairpin"], described["vethc2"]["hairpin"] = hairpin
            described["eth0"]["mtu"] = mtu
            box = Box({**ours.description, "interfaces": described, "sysctl": {**ours.description["sysctl"], **sysctl}, "rules": rules})
            set_up(sysctl, hairpin, mtu, rules)
            for kind in rng.sample(KINDS, 3):
                steps = [(wire, frame) for wire, frame in generator(kind)(random.Random(f"{SEED}/settings/{k}/{kind}"))
                         if wire != "eth0" or len(frame) <= mtu + 14]           # what the link takes
                if conversation(real, box, steps):
                    again = next((d for n in range(1, len(steps) + 1) if (d := conversation(real, box, steps[:n]))), "")
                    told = {key: value for key, value in sysctl.items() if value != SETTINGS[key][0]}
                    assert not again, f"LIVE_SEED={SEED} settings {k} {kind}: {again}\n{told}, hairpin {hairpin}, mtu {mtu}\n{rules}"
    finally:
        set_up({key: values[0] for key, values in SETTINGS.items()}, (False, False), 1500, plain)


def counts(saved: str) -> dict[tuple[str, str], list[str]]:
    """Of `iptables-save -c`: (table, chain) -> what its policy has counted, then its rules."""
    out: dict[tuple[str, str], list[str]] = {}
    table = ""
    for words in map(str.split, saved.splitlines()):
        if words and words[0][0] == "*":
            table = words[0][1:]
        elif words and words[0][0] == ":":
            out[table, words[0][1:]] = [words[2]]
        elif words and words[0][0] == "[":
            out[table, words[2]].append(words[0])
    return out


def test_random_rules(hosts: tuple[Any, Box]) -> None:
    """Rulesets over all four tables, loaded into the kernel by iptables-restore and into ours; what they count is compared, too."""
    import cases
    import kinds
    real, ours = hosts
    print(f"LIVE_SEED={SEED}")
    tries = itertools.count()
    for k in range(max(1, CONVERSATIONS // 40)):
        # as we write it: iptables-restore has to take that
        text = Rules.from_iptables_save(kinds.random_rules(random.Random(f"{SEED}/rules/{k}"))).to_iptables_save()
        steps = cases.rand_case(random.Random(f"{SEED}/rules/{k}/steps"))

        def differs(steps: list[tuple[str, bytes]], text: str = text) -> str:
            # limit and nth count, hashlimit by its name: both sides start anew
            text = text.replace("--hashlimit-name h", f"--hashlimit-name h{next(tries)}_")
            subprocess.run(["ip", "netns", "exec", "natbox", "iptables-restore"], input=text, text=True, check=True)
            box = Box({**ours.description, "rules": text})
            late: list[bytes] = []
            difference = conversation(real, box, steps, late)
            if difference or late:              # the kernel has counted those, too
                return difference
            saved = subprocess.run(["ip", "netns", "exec", "natbox", "iptables-save", "-c"], capture_output=True, text=True, check=True)
            kernel, mine = counts(saved.stdout), counts(box.host.netfilter.iptables_save())
            return "\n".join(f"{key}: kernel {kernel[key]}, simcore {mine[key]}" for key in mine if kernel[key] != mine[key])

        difference = differs(steps)
        if difference:
            again = next((d for n in range(1, len(steps) + 1) if (d := differs(steps[:n]))), "")
            assert not again, f"LIVE_SEED={SEED} rules {k}: {again}\n{text}"
    subprocess.run(["ip", "netns", "exec", "natbox", "iptables-restore"], input=(ORACLE / "docker.v4").read_text(), text=True, check=True)
