"""iptables rules: `iptables-save` text to rules and back.

A rule is kept as it is written, match by match, so that `Rules.to_iptables_save` gives text that
iptables-restore takes. `extensions.py` says what each match and target takes and means, `filter.pyx` compiles rules
for the packet path. Whatever is not understood is an error that names line and token: a firewall rule must not be
ignored.
"""
from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from natfast import values
from natfast.errors import RulesError
from natfast.extensions import MATCHES, TARGETS, Extension, Given, MatchSpec, Option, TargetSpec, Written
from natfast.kinds import TargetKind

HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
BUILTIN = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": HOOKS,
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
JUMPS = 63
"""Chains may jump into one another so deep."""


def _text(options: dict[str, Option], written: Written) -> list[str]:
    """Options as iptables-save writes them."""
    words = []
    for name, negated, value in written:
        words += ["!"] * negated + [name]
        if options[name].words == 1:
            words.append(_quoted(value))
        elif value:
            words.append(value)
    return words


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if not value or any(c in value for c in " '\"\\") else value


@dataclass(frozen=True)
class Match:
    """One `-m` match: its options as (name, negated, value) in the order they were given."""

    module: str
    options: Written

    def text(self) -> str:
        return " ".join(["-m", self.module, *_text(MATCHES[self.module].options, self.options)])

    def lower(self) -> list[MatchSpec]:
        """The elementary matches that it stands for."""
        match = MATCHES[self.module]
        return match.lower(Given(match.options, self.options))


@dataclass(frozen=True)
class Rule:
    """One rule of a chain; `target` is a builtin target, a chain, or None (counts only)."""

    line: int = 0
    source: tuple[bool, str] | None = None
    destination: tuple[bool, str] | None = None
    iif: tuple[bool, str] | None = None
    oif: tuple[bool, str] | None = None
    protocol: tuple[bool, int] | None = None
    matches: tuple[Match, ...] = ()
    target: str | None = None
    goto: bool = False
    options: Written = ()

    def lower(self) -> TargetSpec | None:
        """What its target does; None if that is a chain."""
        if self.target is None:
            return TargetSpec(TargetKind.T_NONE)
        if self.target not in TARGETS:
            return None
        return TARGETS[self.target].lower(Given(TARGETS[self.target].options, self.options))

    def text(self, chain: str) -> str:
        """The rule as iptables-save writes it."""
        words = [f"-A {chain}"]
        for flag, given in (("-s", self.source), ("-d", self.destination), ("-i", self.iif), ("-o", self.oif)):
            if given is not None:
                words.append(("! " if given[0] else "") + f"{flag} {given[1]}")
        if self.protocol is not None:
            words.append(("! " if self.protocol[0] else "") + f"-p {values.PROTOCOL_NAMES.get(self.protocol[1], self.protocol[1])}")
        words += [m.text() for m in self.matches]
        if self.target is not None:
            words += ["-g" if self.goto else "-j", self.target]
            words += _text(TARGETS[self.target].options, self.options) if self.options else []
        return " ".join(words)


@dataclass
class Chain:
    """Rules in order; `policy` is ACCEPT or DROP for a builtin chain, None for a user chain."""

    name: str
    policy: str | None = None
    rules: list[Rule] = field(default_factory=list)


Counts = dict[tuple[str, str], list[tuple[int, int]]]
"""(table, chain) -> (packets, bytes) that came to the chain's end, where its policy decides, then of each of its rules."""


@dataclass
class Rules:
    """A ruleset: table -> chain name -> chain.

    Examples
    --------
    >>> text = '''*nat
    ... :PREROUTING ACCEPT [0:0]
    ... :POSTROUTING ACCEPT [0:0]
    ... -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    ... COMMIT'''
    >>> Rules.from_iptables_save(text).tables["nat"]["POSTROUTING"].rules[0].target
    'MASQUERADE'
    """

    tables: dict[str, dict[str, Chain]] = field(default_factory=dict)

    @classmethod
    def from_iptables_save(cls, text: str, name: str = "rules") -> Rules:
        """Parse `iptables-save` text.

        Raises
        ------
        RulesError
            Naming `name`, line and token of what is not understood.
        """
        return _Parser(text, name).parse()

    def to_iptables_save(self, counts: Counts | None = None) -> str:
        """Text that `iptables-restore` takes and `from_iptables_save` reads back to an equal ruleset.

        With `counts` as `iptables-save -c` prints it.
        """
        out = []
        for table, chains in self.tables.items():
            out.append(f"*{table}")
            for c in chains.values():
                packets, octets = counts[table, c.name][0] if counts is not None else (0, 0)
                out.append(f":{c.name} {c.policy or '-'} [{packets}:{octets}]")
            for c in chains.values():
                of_rules = [""] * len(c.rules) if counts is None else [f"[{p}:{b}] " for p, b in counts[table, c.name][1:]]
                out += [count + rule.text(c.name) for count, rule in zip(of_rules, c.rules, strict=True)]
            out.append("COMMIT")
        return "\n".join(out) + "\n"

    def stopped(self, counts: Counts) -> dict[str, int]:
        """How many packets each rule that drops or rejects has stopped, and each policy, as one would give it to iptables."""
        out = dict[str, int]()
        for table, chains in self.tables.items():
            where = "" if table == "filter" else f"-t {table} "
            for c in chains.values():
                at_the_end, *of_rules = (packets for packets, _ in counts[table, c.name])
                for rule, packets in zip(c.rules, of_rules, strict=True):
                    if rule.target in ("DROP", "REJECT") and packets:
                        text = where + rule.text(c.name)
                        out[text] = out.get(text, 0) + packets
                if c.policy == "DROP" and at_the_end:
                    out[f"{where}-P {c.name} DROP"] = at_the_end
        return out

    def check(self, name: str = "rules") -> None:
        """Do the chains make sense together? `name` is what errors call them.

        Raises
        ------
        RulesError
            For a loop, jumps too deep, and a target in a chain that is reached from a hook it cannot work in.
        """
        for table, chains in self.tables.items():
            heights = dict[str, int]()
            for chain in chains:
                if self._height(f"{name}: table {table}", chains, chain, [], heights) > JUMPS + 1:
                    raise RulesError(f"{name}: table {table}: jumps nest deeper than {JUMPS}")
            for base in (hook for hook in HOOKS if hook in chains):
                reached = [base]
                for chain in reached:
                    for rule in chains[chain].rules:
                        target = rule.target or ""
                        if target in chains:
                            reached += [target] if target not in reached else []
                        elif target in TARGETS and (only := TARGETS[target].chains) and base not in only:
                            way = f" from {base}" if chain != base else ""
                            raise RulesError(f"{name}: line {rule.line}: {target} is only valid in {', '.join(only)}, not in {chain}{way}")

    def _height(self, where: str, chains: dict[str, Chain], chain: str, path: list[str], heights: dict[str, int]) -> int:
        """How many chains deep one gets from a chain on, itself included."""
        if chain in path:
            raise RulesError(f"{where}: chain {chain} jumps to itself through {' -> '.join([*path, chain])}")
        if len(path) > JUMPS:
            raise RulesError(f"{where}: jumps nest deeper than {JUMPS}")
        if chain not in heights:
            below = {rule.target for rule in chains[chain].rules if rule.target in chains}
            heights[chain] = 1 + max((self._height(where, chains, c, [*path, chain], heights) for c in sorted(below)), default=0)
        return heights[chain]


def source_ports(rule: Rule) -> tuple[int, int] | None:
    """The source ports that a MASQUERADE or SNAT rule may choose from, first and last; None if it does not say."""
    spec = rule.lower() if rule.target in ("MASQUERADE", "SNAT") else None
    return spec.range.ports if spec is not None and spec.range is not None and any(spec.range.ports) else None


class _Words:
    """The words of one rule, read left to right."""

    def __init__(self, words: list[str]) -> None:
        self.words, self.at = words, 0

    def __iter__(self) -> Iterator[str]:
        while self.at < len(self.words):
            self.at += 1
            yield self.words[self.at - 1]

    def value(self, option: str) -> str:
        if self.at >= len(self.words):
            raise ValueError(f"{option} needs a value")
        self.at += 1
        return self.words[self.at - 1]


BASIC = {"-s": "source", "--source": "source", "--src": "source", "-d": "destination", "--destination": "destination",
         "--dst": "destination", "-i": "iif", "--in-interface": "iif", "-o": "oif", "--out-interface": "oif",
         "-p": "protocol", "--protocol": "protocol"}
NO_IIF, NO_OIF = ("OUTPUT", "POSTROUTING"), ("PREROUTING", "INPUT")
ALIASES = {"--source-port": "--sport", "--destination-port": "--dport", "--source-ports": "--sports",
           "--destination-ports": "--dports", "--to-port": "--to-ports", "--ttl": "--ttl-eq", "--match": "-m", "--jump": "-j",
           "--goto": "-g", "--fragment": "-f", "--set-counters": "-c", "--hashlimit": "--hashlimit-upto"}


class _RuleParser:
    """Reads the words of one rule; ValueError says what is wrong with them."""

    def __init__(self) -> None:
        self.basic: dict[str, tuple[bool, str]] = {}
        self.protocol: tuple[bool, int] | None = None
        self.matches: list[tuple[str, list[tuple[str, bool, str]]]] = []
        self.target: str | None = None
        self.goto = False
        self.options: list[tuple[str, bool, str]] = []

    def read(self, words: _Words) -> None:
        negated = False
        for given in words:
            word = ALIASES.get(given, given)
            if word == "!":
                if negated:
                    raise ValueError("expected an option after '!', got another '!'")
                negated = True
                continue
            if word in BASIC:
                self.read_basic(BASIC[word], given, negated, words.value(given))
            elif word == "-f":
                raise ValueError("-f is not supported: packets are defragmented before any rule sees them")
            elif word in ("-m", "-j", "-g", "-c") and negated:
                raise ValueError(f"{given} cannot be negated")
            elif word == "-m":
                self.begin_match(words.value(given))
            elif word in ("-j", "-g"):
                if self.target is not None:
                    raise ValueError(f"{given} is given twice")
                self.target, self.goto = words.value(given), word == "-g"
            elif word == "-c":
                words.value(given)
                words.value(given)
            else:
                into, option = self.owner(word, words)
                into.append((word, negated, self.value(option, word, words)))
            negated = False
        if negated:
            raise ValueError("expected an option after '!'")

    def read_basic(self, name: str, given: str, negated: bool, value: str) -> None:
        if name in self.basic:
            raise ValueError(f"{given} is given twice")
        self.basic[name] = negated, value
        if name == "protocol":
            self.protocol = negated, values.protocol_number(value)
        elif name in ("iif", "oif"):
            values.interface(value)

    def begin_match(self, module: str) -> None:
        if module not in MATCHES:
            hint = "helpers (FTP, TFTP, SIP) are not supported" if module == "helper" else f"known are {', '.join(MATCHES)}"
            raise ValueError(f"match {module!r} is not supported; {hint}")
        self.matches.append((module, []))

    def owner(self, word: str, words: _Words) -> tuple[list[tuple[str, bool, str]], Option]:
        """What an option belongs to: the target, the last match that has it, or the one that `-p tcp` alone brings."""
        if self.target is not None and word in (known := TARGETS[self.target].options if self.target in TARGETS else {}):
            return self.options, known[word]
        if self.target == "CT" and word == "--helper":
            raise ValueError(f"connection tracking helpers are not supported (--helper {words.value(word)})")
        if self.target == "CT" and word in ("--zone", "--zone-orig", "--zone-reply"):
            raise ValueError(f"conntrack zones are not supported ({word} {words.value(word)})")
        for module, found in reversed(self.matches):
            if word in MATCHES[module].options:
                return found, MATCHES[module].options[word]
        if self.protocol is not None and not self.protocol[0]:
            implied = values.PROTOCOL_NAMES.get(self.protocol[1], "")
            if implied in MATCHES and word in MATCHES[implied].options:
                self.matches.append((implied, []))
                return self.matches[-1][1], MATCHES[implied].options[word]
        raise ValueError(f"{word!r} is not understood")

    def value(self, option: Option, word: str, words: _Words) -> str:
        value = " ".join(words.value(word) for _ in range(option.words))
        if option.words:
            option.read(value)
        return value

    def rules(self, line: int, table: str, chain: str) -> list[Rule]:
        """The rule; several, where -s or -d lists addresses."""
        if chain in NO_IIF and "iif" in self.basic or chain in NO_OIF and "oif" in self.basic:
            raise ValueError(f"{'-i' if chain in NO_IIF else '-o'} cannot be used in {chain}")
        matches = tuple(Match(module, tuple(options)) for module, options in self.matches)
        for m in matches:
            self.check(f"match {m.module}", MATCHES[m.module], m.options)
        if self.target in TARGETS:
            tables = TARGETS[self.target].tables
            if tables and table not in tables:
                raise ValueError(f"target {self.target} is only valid in the {' or '.join(tables)} table, not in {table}")
            self.check(f"target {self.target}", TARGETS[self.target], tuple(self.options))
        rule = Rule(line, iif=self.basic.get("iif"), oif=self.basic.get("oif"), protocol=self.protocol, matches=matches,
                    target=self.target, goto=self.goto, options=tuple(self.options))
        return [replace(rule, source=source, destination=destination)
                for source, destination in itertools.product(self.addresses("source"), self.addresses("destination"))]

    def check(self, what: str, extension: Extension[Any], options: Written) -> None:
        try:
            extension.check(options, self.protocol, self.matches)
        except ValueError as e:
            raise ValueError(f"{what}: {e}") from None

    def addresses(self, name: str) -> list[tuple[bool, str] | None]:
        if name not in self.basic:
            return [None]
        negated, text = self.basic[name]
        if negated and "," in text:
            raise ValueError("'!' does not go with several addresses")
        return [(negated, values.network(*values.address(word))) for word in text.split(",")]


class _Parser:
    """Reads `iptables-save` text line by line."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.rules = text, name, Rules()
        self.table: str | None = None

    def parse(self) -> Rules:
        number = 0
        try:
            for number, raw in enumerate(self.text.splitlines(), 1):
                self.line(raw.strip(), number)
            if self.table is not None:
                raise ValueError(f"table {self.table} ends without COMMIT")
            for table, chains in self.rules.tables.items():
                for rule in (rule for chain in chains.values() for rule in chain.rules):
                    number = rule.line
                    if rule.target is not None and rule.target not in chains and (rule.goto or rule.target not in TARGETS):
                        raise ValueError(f"target {rule.target!r} is neither known nor a chain of table {table}")
        except ValueError as e:
            raise RulesError(f"{self.name}: line {number}: {e}") from None
        self.rules.check(self.name)
        return self.rules

    def line(self, line: str, number: int) -> None:
        if not line or line.startswith("#"):
            return
        if line.startswith("*"):
            if line[1:] not in BUILTIN:
                raise ValueError(f"table {line[1:]!r} is not supported; expected one of {', '.join(BUILTIN)}")
            self.table = line[1:]
            self.rules.tables.setdefault(self.table, {})
            return
        if line == "COMMIT":
            self.table = None
            return
        if self.table is None:
            raise ValueError(f"{line.split()[0]!r} stands outside a table; expected '*filter', '*nat', ...")
        if line.startswith(":"):
            self.declare(self.table, line[1:].split())
            return
        try:
            words = shlex.split(line)
        except ValueError as e:
            raise ValueError(f"quotes do not match: {e}") from None
        if words[0].startswith("["):
            words = words[1:]
        if len(words) < 2 or words[0] not in ("-A", "--append"):
            raise ValueError(f"{' '.join(words[:1])!r} is not understood; expected '-A CHAIN ...'")
        chain = words[1]
        if chain in BUILTIN[self.table]:
            self.rules.tables[self.table].setdefault(chain, Chain(chain, "ACCEPT"))
        if chain not in self.rules.tables[self.table]:
            raise ValueError(f"chain {chain!r} is not declared in table {self.table}")
        parser = _RuleParser()
        parser.read(_Words(words[2:]))
        self.rules.tables[self.table][chain].rules.extend(parser.rules(number, self.table, chain))

    def declare(self, table: str, words: list[str]) -> None:
        if len(words) < 2:
            raise ValueError("expected ':CHAIN POLICY [packets:bytes]'")
        chains, chain, policy = self.rules.tables[table], words[0], words[1]
        if chain in BUILTIN[table]:
            if policy not in ("ACCEPT", "DROP"):
                raise ValueError(f"policy {policy!r} of {chain}: expected ACCEPT or DROP")
            chains[chain] = Chain(chain, policy)
        elif chain in HOOKS:
            raise ValueError(f"table {table} has no chain {chain}")
        elif chain in TARGETS:
            raise ValueError(f"a chain cannot have a target's name, {chain}")
        elif len(chain) > 28:
            raise ValueError(f"chain name {chain!r} is longer than 28 characters")
        elif policy != "-":
            raise ValueError(f"user chain {chain} cannot have the policy {policy!r}")
        else:
            chains[chain] = Chain(chain)
