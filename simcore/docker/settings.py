"""One value of a Compose file by its path: `services.web.sysctls.net.ipv4.tcp_ecn`, `x-simcore.workloads.0.rate`."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TOP = frozenset({"services", "networks", "x-simcore"})
_ONE_KEY = frozenset({"sysctls"})       # what follows is one key, dots and all


def path_of(key: str) -> list[str]:
    """The parts of a path; one that begins with none of a Compose file's own keys begins in `x-simcore`.

    Raises
    ------
    ValueError
        For an empty part.
    """
    parts = key.split(".")
    if "" in parts:
        raise ValueError(f"{key!r} is no key, as x-simcore.links.host.rate")
    if parts[0] not in _TOP:
        parts.insert(0, "x-simcore")
    for i, part in enumerate(parts):
        if part in _ONE_KEY and i + 1 < len(parts):
            return [*parts[:i + 1], ".".join(parts[i + 1:])]
    return parts


def changed(data: Any, settings: Mapping[str, Any]) -> Any:
    """A file's data with some values set; the data itself stays.

    Mappings that are not there are made, as YAML would; a list's item must be there. Whether the values fit is for the file's
    check to say.

    Raises
    ------
    ValueError
        `KEY: what is wrong`.
    """
    for key, value in settings.items():
        try:
            data = _with(data, path_of(key), value)
        except LookupError as error:
            raise ValueError(f"{key}: {error.args[0]}") from None
    return data


def _with(data: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(data, list):
        if not part.isdigit() or int(part) >= len(data):
            raise LookupError(f"there is no item {part!r} in a list of {len(data)}")
        return [_with(item, rest, value) if i == int(part) else item for i, item in enumerate(data)]
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise LookupError(f"{data!r} has no key {part!r}")
    return {**data, part: _with(data.get(part), rest, value)}
