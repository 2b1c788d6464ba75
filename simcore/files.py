"""Files: read with one clear line for what is wrong, written whole or not at all."""
from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from simcore.errors import ScenarioError


def read_text(path: Path) -> str:
    """A file's text; ScenarioError if it cannot be read, or is none."""
    try:
        return path.read_text()
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: byte {error.start}: not UTF-8 text") from None


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", newline="") as f:
        f.write(text)
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """JSON, indented."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], missing: Any = "") -> None:
    """A line per row; columns in the order in which they first appear, `missing` where a row has no value."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)), restval=missing)
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, out.getvalue())
