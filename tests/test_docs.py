"""What the documents show in Python runs, block after block, as a reader would type it."""
from __future__ import annotations

import doctest
import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

COMPOSE = """
services: {worker: {image: worker}}
x-simcore:
  duration: 1s
  links: {server: {rate: 200Mbit, latency: 10ms}, host: {rate: 100Mbit}}
  servers: {api: {address: 93.184.216.34}}
  workloads: [{kind: load, from: worker, to: api, port: 80, users: 20, think: {exponential: 100ms}}]
"""


@pytest.fixture
def reader(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files that the documents speak of."""
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    shutil.copy(data / "captures" / "tcp_out.host_docker0.pcap", tmp_path / "packet.pcap")
    (tmp_path / "rules.v4").write_text("*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def modules(root: Path = Path(__file__).parent.parent) -> list[str]:
    """Those with examples in their docstrings."""
    return sorted(".".join(path.relative_to(root).with_suffix("").parts) for package in ("natfast", "simcore")
                  for path in (root / package).rglob("*.py") if ">>> " in path.read_text())


@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings(name: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


def blocks(text: str) -> list[tuple[int, str]]:
    """(line, code) of each."""
    return [(text[:m.start(1)].count("\n"), m[1]) for m in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)]


@pytest.mark.parametrize("document", ["docs/python.md", "docs/experiments.md", "README.md"])
def test_what_a_document_shows_runs(root: Path, reader: Path, document: str) -> None:
    import numpy as np

    names: dict[str, Any] = {"__name__": "document"}
    if document == "README.md":                         # what its reader would have: a batch of frames
        names |= {"frames": np.zeros((4, 64), np.uint8), "lengths": np.full(4, 64, np.uint32)}
    found = blocks((root / document).read_text())
    assert found
    for line, code in found:
        exec(compile("\n" * line + code, document, "exec"), names)
