"""Variables in a Compose file: `${PORT:-8080}` and the like, from the environment and from `.env` beside the file."""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simcore.files import read_text

_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)"
                       r"(?:(?P<how>:?[-?+])(?P<rest>(?:[^{}]|\{[^{}]*\})*))?\})|(?P<stray>\$)")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^#\n]*?))\s*(?:#.*)?$")


def variables(directory: Path) -> dict[str, str]:
    """What variables a Compose file in `directory` sees: those of `.env`, and over them the environment's.

    Raises
    ------
    ScenarioError
        If there is a `.env` that cannot be read.
    """
    path = directory / ".env"
    return {**(env_file(path) if path.exists() else {}), **os.environ}


def env_file(path: Path) -> dict[str, str]:
    """The variables that a file of lines `NAME=value` sets.

    Raises
    ------
    ScenarioError
        If it cannot be read.
    """
    found = {}
    for line in read_text(path).splitlines():
        if match := _LINE.match(line):
            found[match[1]] = next(value for value in match.groups()[1:] if value is not None)
    return found


def _counts(value: str, how: str) -> bool:
    """Whether a value counts as one: an empty one not, where there is a colon."""
    return value != "" or not how.startswith(":")


def substitute(text: str, known: Mapping[str, str]) -> str:
    """Put values in place of `$NAME` and `${NAME}`; `$$` is a dollar.

    `${NAME:-x}` is x if NAME is unset or empty, `${NAME:?why}` an error then, `${NAME:+x}` x if it is neither; without the
    colon an empty value counts as set. What is unset and has no default is empty, as Compose has it.

    Raises
    ------
    ValueError
        For a variable that must be set and is not, or what is no variable.
    """
    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["stray"]:
            raise ValueError(f"{text!r}: $ begins no variable, as ${{NAME}}; a dollar is $$")
        name, how, rest = match["plain"] or match["name"], match["how"] or "", match["rest"] or ""
        given = name in known and _counts(known[name], how)
        if how.endswith("+"):
            return substitute(rest, known) if given else ""
        if given:
            return known[name]
        if how.endswith("?"):
            raise ValueError(f"{text!r}: {name} is not set" + (f": {rest}" if rest else ""))
        return substitute(rest, known)
    return _VARIABLE.sub(value, text)


def substitute_some(data: Any, known: Mapping[str, str]) -> Any:
    """Put values in place of those variables alone, in every string below: what is left is another's to substitute."""
    if isinstance(data, dict):
        return {k: substitute_some(v, known) for k, v in data.items()}
    if isinstance(data, list):
        return [substitute_some(v, known) for v in data]
    if not isinstance(data, str):
        return data

    def value(match: re.Match[str]) -> str:
        name, how, rest = match["plain"] or match["name"], match["how"] or "", substitute_some(match["rest"] or "", known)
        if name not in known:
            return f"${{{name}{how}{rest}}}" if match["name"] else match[0]
        given = _counts(known[name], how)
        if how.endswith("+"):
            return rest if given else ""
        # one that must not be empty, and is, is left to be complained of with the key that it stands at
        return known[name].replace("$", "$$") if given else match[0] if how.endswith("?") else rest
    return _VARIABLE.sub(value, data)


def interpolate(data: Any, known: Mapping[str, str], key: str = "") -> Any:
    """Substitute in every string below; the keys stay.

    Raises
    ------
    ValueError
        `KEY: what is wrong`.
    """
    if isinstance(data, dict):
        return {k: interpolate(v, known, f"{key}.{k}" if key else str(k)) for k, v in data.items()}
    if isinstance(data, list):
        return [interpolate(v, known, f"{key}.{i}") for i, v in enumerate(data)]
    if not isinstance(data, str) or "$" not in data:
        return data
    try:
        return substitute(data, known)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
