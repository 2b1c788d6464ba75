"""A workload's name for readers."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def title(w: Mapping[str, Any]) -> str:
    """Of a workload as the file says it or as a summary has it: `load app → api:80`."""
    return f"{w['kind']} {w['from']} → {w['to']}" + (f":{w['port']}" if "port" in w else "")
