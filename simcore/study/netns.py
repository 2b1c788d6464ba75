"""Network namespaces of this machine's kernel, made for as long as they are needed; root."""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from simcore.errors import ScenarioError


def missing(*tools: str) -> str:
    """Why namespaces cannot be made here with the help of these tools, empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    absent = [tool for tool in ("ip", *tools) if shutil.which(tool) is None]
    return f"needs {', '.join(absent)}" if absent else ""


def do(*command: str, stdin: str | None = None) -> None:
    """Run a command.

    Raises
    ------
    ScenarioError
        With what it said, if it failed.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScenarioError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def inside(namespace: str, *command: str) -> list[str]:
    """The command that runs a command there."""
    return ["ip", "netns", "exec", namespace, *command]


def ip(namespace: str, *words: str) -> None:
    """Let `ip` do something there; ScenarioError as `do`."""
    do("ip", "-n", namespace, *words)


def sysctl(namespace: str, key: str, value: object) -> None:
    """Set something there; ScenarioError as `do`."""
    do(*inside(namespace, "sysctl", "-qw", f"{key}={value}"))


@contextmanager
def namespaces(names: Iterable[str], of: Mapping[str, int] | None = None) -> Iterator[list[str]]:
    """Make namespaces, and take them away in the end; names that are `of` a process are given to its own, for as long.

    Raises
    ------
    ScenarioError
        If there is one of that name, or no such process.
    """
    made: list[str] = []
    try:
        for name in names:
            if of and name in of:
                do("ip", "netns", "attach", name, str(of[name]))
            else:
                do("ip", "netns", "add", name)
            made.append(name)
        yield made
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
