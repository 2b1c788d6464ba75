"""Files that are there whole or not at all."""
from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


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
