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


def without_draw(line: str, own: set[str]) -> str:
    """The entry of a connection that ends on the host without a port that was drawn for its answers: no frame tells which."""
    answers = re.search(r"sport=(\d+) dport=\d+ (?:packets=\d+ bytes=\d+ )?(?:\[UNREPLIED\] )?src=(\S+) dst=\S+ sport=\d+ dport=(\d+)",
                        line)
    if answers is None or answers[2] not in own or answers[3] == answers[1]:
        return line
    return f"{line[:answers.start(3)]}*{line[answers.end(3):]}"


def own_icmp(frame: bytes, kind: bytes, own: set[str]) -> bool:
    """An ICMP message of this type, and code, that the host made?"""
    return (frame[12:14] == b"\x08\x00" and frame[23:24] == b"\x01" and frame[14 + (frame[14] & 15) * 4:].startswith(kind)
            and ".".join(map(str, frame[26:30])) in own)


def left_behind(frame: bytes, steps: list[tuple[str, bytes]], own: set[str]) -> bool:
    """Does the host say of an earlier conversation that its fragments never became whole? That takes half a minute."""
    quoted = 14 + (frame[14] & 15) * 4 + 8
    return own_icmp(frame, b"\x0b\x01", own) and not any(f[18:20] == frame[quoted + 4:quoted + 6] for _, f in steps)


def conversation(real: Any, ours: Box, steps: list[tuple[str, bytes]], uncounted: list[bytes] | None = None) -> str:
    """Send it through both; what differs first, empty if nothing does.

    `uncounted` takes frames after which the kernel's counters tell more: what earlier conversations left behind, and what the host
    sent to all, which comes back to it.
    """
    redirects = ours.description["sysctl"]["net.ipv4.conf.all.send_redirects"]      # how many, earlier conversations decide, too
    real.reset()
    ours.reset()
    for i, (wire, frame) in enumerate(steps):
        real.wires[wire].send(frame)
        drained = real.drain(0.006)
        seen = [(name, f) for name, f in drained if not left_behind(f, steps, ours.addresses)]
        if uncounted is not None:
            uncounted += [f for name, f in drained if (name, f) not in seen or f[0] & 1 and f[6:12] != frame[6:12]]
        got = ours.inject(wire, frame, i * 0.001, observed=seen)
        want, have = (by_wire([(name, f) for name, f in out if not (redirects and own_icmp(f, b"\x05", ours.addresses))])
                      for out in (seen, got))
        same = want.keys() == have.keys() and all(
            len(want[n]) == len(have[n]) and all(map(lambda a, b: same_frame(a, b, ours.addresses), want[n], have[n])) for n in want)
        if not same:
            prefix = "\n".join(f"    {w} {f.hex()}  {Ether(f).summary()}" for w, f in steps[:i + 1])
            return f"step {i + 1}\n  kernel\n{dissected(want)}\n  simcore\n{dissected(have)}\n  after\n{prefix}"
    table = real.conntrack()
    mine = ours.conntrack()
    if not same_table(*([without_draw(line, ours.addresses) for line in lines] for lines in (table, mine))):
        timeless = [{" ".join(line.split()[:2] + line.split()[3:]): line for line in lines} for lines in (table, mine)]
        only = [[line for key, line in a.items() if key not in b or line.split()[2] != b[key].split()[2]]
                for a, b in (timeless, timeless[::-1])]
        return "\n    ".join(["conntrack after the last step\n  only kernel", *only[0]]) + "\n    ".join(["\n  only simcore", *only[1]])
    return ""


def generator(kind: str) -> Callable[[random.Random], list[tuple[str, bytes]]]:
    import kinds
    return kinds.KINDS[kind]            # type: ignore[no-any-return]


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


def mixed(rng: random.Random, box: dict[str, Any]) -> list[tuple[str, bytes]]:
    """Three conversations at once, of any kinds."""
    import settings
    streams = [settings.fitting(generator(rng.choice(KINDS))(rng), box) for _ in range(3)]
    turns = [turn for steps in streams for turn in [iter(steps)] * len(steps)]
    rng.shuffle(turns)
    return [next(turn) for turn in turns]


def test_random_hosts(hosts: tuple[Any, Box], request: pytest.FixtureRequest) -> None:
    """Sysctls, hairpin ports, the MTU of the way out, with and without docker-proxy; rulesets over all four tables, loaded into the
    kernel by iptables-restore and into ours. What the rules count is compared, too.
    """
    import kinds
    import settings
    real, ours = hosts
    brnf = bool(ours.description["sysctl"]["net.bridge.bridge-nf-call-iptables"])
    print(f"LIVE_SEED={SEED}")
    request.addfinalizer(lambda: settings.set_up(settings.usual(brnf)))
    tries = itertools.count()
    for k in range(max(1, CONVERSATIONS // 24)):
        rng = random.Random(f"{SEED}/hosts/{k}")
        description = settings.drawn(rng, brnf) if rng.random() < 0.6 else settings.usual(brnf)
        if rng.random() < 0.6:
            # as we write it: iptables-restore has to take that
            description["rules"] = Rules.from_iptables_save(kinds.random_rules(rng)).to_iptables_save()
        steps = mixed(rng, description)

        def differs(steps: list[tuple[str, bytes]], description: dict[str, Any] = description) -> str:
            # limit and nth count, hashlimit by its name: both sides start anew
            anew = {**description, "rules": description["rules"].replace("--hashlimit-name h", f"--hashlimit-name h{next(tries)}_")}
            settings.set_up(anew)
            box = Box(anew)
            uncounted: list[bytes] = []
            difference = conversation(real, box, steps, uncounted)
            # how many redirects the kernel sends depends on earlier ones
            if difference or uncounted or anew["sysctl"]["net.ipv4.conf.all.send_redirects"]:
                return difference
            saved = subprocess.run(["ip", "netns", "exec", "natbox", "iptables-save", "-c"], capture_output=True, text=True, check=True)
            kernel, mine = counts(saved.stdout), counts(box.host.netfilter.iptables_save())
            return "\n".join(f"{key}: kernel {kernel[key]}, simcore {mine[key]}" for key in mine if kernel[key] != mine[key])

        if differs(steps):
            again = next((d for n in range(1, len(steps) + 1) if (d := differs(steps[:n]))), "")
            assert not again, f"LIVE_SEED={SEED} hosts {k}: {again}\n{settings.unusual(description)}"
