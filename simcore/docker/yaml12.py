"""YAML as Compose files are written in: version 1.2's core schema, which `docker compose` goes by.

PyYAML's own loader is of version 1.1, in which `8080:22` is a number of base 60, and `on`, `off`, `yes` and `no` are booleans.
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Instead:
    """What is tagged `!override`, to stand instead of what it is merged over; or `!reset`, to take it away."""

    value: Any
    reset: bool = False


class _Loader(yaml.SafeLoader):
    """Plain scalars are resolved by these patterns (YAML 1.2.2, section 10.3.2), and by YAML 1.1's `<<`, which is still in use."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.0123456789"),
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("merge", r"<<", "<")):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first))


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _untagged(loader: Any, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    plain = yaml.ScalarNode(loader.resolve(yaml.ScalarNode, node.value, (True, False)), node.value, node.start_mark, node.end_mark)
    return loader.construct_object(plain)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("!override", lambda loader, node: Instead(_untagged(loader, node)))
_Loader.add_constructor("!reset", lambda loader, node: Instead(None, reset=True))


def load(text: str) -> Any:
    """The document in a text.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, or more than one document.
    """
    return yaml.load(text, _Loader)
