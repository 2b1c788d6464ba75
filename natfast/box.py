"""Reads a box.json: the description of a host that `natfast translate` and `simcore replay` share."""
from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from natfast.errors import BoxError
from natfast.rules import Rules


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _mac(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", value) is not None


def _parsed(parse: Callable[[str], Any]) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        try:
            return isinstance(value, str) and parse(value) is not None
        except ValueError:
            return False
    return test


_ADDRESS = (_parsed(ipaddress.IPv4Address), "an IPv4 address")
_MAC = (_mac, "a MAC as 02:42:ac:11:00:02")
_NAME = (_text, "a name")
_FLAG = (lambda value: value in (True, False), "true or false")
_SHAPE: dict[str, Any] = {
    "interfaces": {"*": {"kind": (_text, "bridge or veth"), "mac": _MAC, "hairpin": _FLAG, "ports": [_NAME],
                         "mtu": (lambda v: type(v) is int and 68 <= v <= 65535, "a number of bytes from 68 to 65535"),
                         "addresses": [(_parsed(ipaddress.IPv4Interface), "an address as 172.17.0.1/16")]}},
    "fdb": [(_MAC, _NAME)],
    "neighbours": [(_ADDRESS, _MAC, _NAME)],
    "routes": [{"to": (_text, "default, or a network"), "dev": _NAME, "via": (lambda v: v is None or _ADDRESS[0](v), "an IPv4 address")}],
    "sysctl": {"*": (lambda v: isinstance(v, str | int | float), "a number or text")},
    "rules": (_text, "a file's name"),
}
"""What each key holds: a mapping (`*`: of any names), a list, a row of so many values, or a test and what it looks for."""


def _check(value: Any, shape: Any, key: str) -> None:
    """See that a value is as its shape says; keys that nobody knows are left alone.

    Raises
    ------
    BoxError
        Naming the key.
    """
    def inner(name: object) -> str:
        return f"{key}.{name}" if key else str(name)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise BoxError(f"{key}: expected an object")
        for name, item in value.items():
            if (known := shape.get(name, shape.get("*"))) is not None:
                _check(item, known, inner(name))
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise BoxError(f"{key}: expected a list")
        for i, item in enumerate(value):
            _check(item, shape[0], inner(i))
    elif callable(shape[0]):
        if not shape[0](value):
            raise BoxError(f"{key}: {value!r}: expected {shape[1]}")
    elif not isinstance(value, list) or len(value) != len(shape):
        raise BoxError(f"{key}: expected {len(shape)} values: {', '.join(what for _, what in shape)}")
    else:
        for i, (item, one) in enumerate(zip(value, shape, strict=True)):
            _check(item, one, inner(i))


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise BoxError(f"{what}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BoxError(f"{what}: byte {error.start}: not UTF-8 text") from None


def load_box(path: str | Path) -> dict[str, Any]:
    """The description, its `rules` file read and parsed into a `Rules`.

    Raises
    ------
    BoxError, RulesError
        Naming file, line or key.
    """
    path = Path(path)
    text = _read(path, f"{path}")
    try:
        box = json.loads(text)
    except json.JSONDecodeError as error:
        raise BoxError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(box, dict) or "interfaces" not in box:
        raise BoxError(f"{path}: expected an object with the key 'interfaces'")
    try:
        _check({k: v for k, v in box.items() if k != "rules" or v}, _SHAPE, "")
    except BoxError as error:
        raise BoxError(f"{path}: {error}") from None
    name = box.get("rules")
    rules = _read(path.parent / name, f"{path}: rules: {path.parent / name}") if name else ""
    box["rules"] = Rules.from_iptables_save(rules, str(name or "rules"))
    return box
