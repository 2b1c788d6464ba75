"""SimPy's own tests, from its source distribution, pass on our Environment under both engines."""
from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

TRACEBACK_TEXT = "test_exception_chaining"
"""Compares the text of a traceback, file names and source lines of SimPy's included."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("simpy")
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "simpy",
                           f"simpy=={version('simpy')}", "--dest", str(where)], capture_output=True, text=True, check=False, timeout=300)
    archives = list(where.glob("simpy-*.tar.gz"))
    if done.returncode or not archives:
        pytest.skip("SimPy's source distribution cannot be had here: " + (done.stderr.strip().splitlines() or ["no archive"])[-1])
    with tarfile.open(archives[0]) as archive:
        archive.extractall(where, filter="data")
    [tests] = where.glob("simpy-*/tests")
    return tests


@pytest.mark.parametrize("engine", ["compiled", "simpy"])
def test_simpys_own_tests(suite: Path, engine: str, tmp_path: Path) -> None:
    (tmp_path / "ours.py").write_text(
        "import functools, simpy\nfrom simcore.engine import Environment\n"
        f"class Ours(Environment):\n    __init__ = functools.partialmethod(Environment.__init__, engine={engine!r})\n"
        "simpy.Environment = Ours\n")
    # test_rt is about wall-clock time; test_benchmark fails on SimPy's own Environment with today's Python
    skipped = [word for name in ("test_rt.py", "test_benchmark.py") for word in ("--ignore", str(suite / name))]
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "ours", "-p", "no:cacheprovider", "-o", "addopts=",
                           "--rootdir", str(suite.parent), "--deselect", f"tests/test_exceptions.py::{TRACEBACK_TEXT}",
                           *skipped, str(suite)], capture_output=True, text=True, check=False, cwd=suite.parent,
                          env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.strip().splitlines()[-1].split(" passed")[0].split()[-1]) > 120
