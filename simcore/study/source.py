"""What worlds are made from: a Compose file or a Python scenario, with some values changed."""
from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simcore.docker import compose
from simcore.docker.compose import Compose
from simcore.errors import ScenarioError
from simcore.files import read_text
from simcore.study.scenario import World


@dataclass(frozen=True)
class Script:
    """A Python scenario: a file with `build(seed, engine, **settings) -> World`, as text, so that it can go to other machines."""

    path: str
    text: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def world(self, seed: int | None, engine: str) -> World:
        """Run the file and its `build`.

        Raises
        ------
        ScenarioError
            If it is not Python, or has no `build` that makes a World with these settings.
        """
        module = types.ModuleType("scenario")
        module.__file__ = self.path
        try:
            exec(compile(self.text, self.path, "exec"), module.__dict__)
        except SyntaxError as error:
            raise ScenarioError(f"{self.path}: line {error.lineno}: not Python: {error.msg}") from None
        build = getattr(module, "build", None)
        if not callable(build):
            raise ScenarioError(f"{self.path}: expected a function build(seed, engine) that returns a World")
        accepted = list(inspect.signature(build).parameters)
        for key in self.settings:
            if key not in accepted[2:]:
                raise ScenarioError(f"{self.path}: build() has no argument {key!r}, expected one of: {', '.join(accepted[2:]) or 'none'}")
        world = build(seed, engine, **self.settings)
        if not isinstance(world, World):
            raise ScenarioError(f"{self.path}: build() returned {type(world).__name__}, expected a World")
        return world


Source = Compose | Script


def source(path: Path, overrides: Sequence[Path] = (), settings: Mapping[str, Any] | None = None,
           duration: float | None = None, suggesting: bool = True) -> Source:
    """Read a scenario, checked as far as it can be without making its world.

    A `duration` is a Compose file's instead of its own: its workloads go on as long. A Compose file without workloads gets some if
    that is to be (`suggesting`).

    Raises
    ------
    ScenarioError
        One line: file, key, what was wrong, what was expected.
    """
    if path.suffix == ".py":
        if overrides:
            raise ScenarioError(f"{path}: a Python scenario takes no --override")
        return Script(str(path), read_text(path), settings or {})
    given = {} if duration is None else {"duration": duration}
    return compose.load(path, overrides, {**(settings or {}), **given}, suggesting=suggesting)


def make_world(what: Source, seed: int | None = None, engine: str = "compiled") -> World:
    """The world of a scenario; ScenarioError as `Script.world`, or for what of a Compose file only shows when its world is made."""
    if isinstance(what, Script):
        return what.world(seed, engine)
    try:
        return World(what, seed, engine)
    except ScenarioError as error:
        raise ScenarioError(f"{what.path}: {error}" if what.path else str(error)) from None
