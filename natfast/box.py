"""Reads a box.json: the description of a host that `natfast translate` and `simcore replay` share."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from natfast.errors import BoxError
from natfast.rules import Rules


def load_box(path: str | Path) -> dict[str, Any]:
    """The description, its `rules` file read and parsed into a `Rules`.

    Raises
    ------
    BoxError, RulesError
        Naming file, line or key.
    """
    path = Path(path)
    try:
        box = json.loads(path.read_text())
    except OSError as error:
        raise BoxError(f"{path}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise BoxError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(box, dict) or not isinstance(box.get("interfaces"), dict):
        raise BoxError(f"{path}: expected an object with the key 'interfaces'")
    text, name = "", box.get("rules")
    if name:
        file = path.parent / name
        try:
            text = file.read_text()
        except OSError as error:
            raise BoxError(f"{path}: rules: {file}: {error.strerror}") from None
    box["rules"] = Rules.from_iptables_save(text, str(name or "rules"))
    return box
