"""Compose files as they lie on disk: read, merged over each other, with what they include and what services extend."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from simcore.docker import yaml12
from simcore.docker.interpolation import env_file, substitute, substitute_some
from simcore.docker.yaml12 import Instead
from simcore.errors import ScenarioError
from simcore.files import read_text


def gather(path: Path, overrides: Sequence[Path] = (), known: Mapping[str, str] | None = None) -> Any:
    """What a file says, with `overrides` merged over it in turn; `known` are the variables that paths in it may have.

    Raises
    ------
    ScenarioError
        For a file that cannot be read, is not YAML, or names another file or service that is not there.
    """
    files = _Files(known or {})
    data = files.whole(path, ())
    for other in overrides:
        data = merge(data, files.whole(other, ()))
    return plain(data)


def merge(base: Any, over: Any, key: str = "") -> Any:
    """One file over another, as Compose does: mappings key by key, lists appended (of `ports` what is new), the rest replaced;
    names in a list are the keys of a mapping, if that is what the other has.

    What is tagged `!override` replaces also mappings and lists, and `!reset` takes away what is there.
    """
    if isinstance(over, Instead):
        return over
    if isinstance(base, Instead):
        base = None if base.reset else base.value
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{k: merge(base[k], v, k) if k in base else v for k, v in over.items()}}
    if isinstance(base, list) and isinstance(over, list):
        return [*base, *(item for item in over if key != "ports" or item not in base)]
    if key in NAMED and {type(base), type(over)} == {dict, list}:
        return merge(_mapping(base), _mapping(over), key)
    return over


NAMED = frozenset({"networks", "depends_on", "sysctls"})
"""What is a mapping, or a list: of names, or of `name=value`."""


def _mapping(named: Any) -> Any:
    if isinstance(named, dict) or not all(isinstance(item, str) for item in named):
        return named
    return {name: value if equals else None for name, equals, value in (item.partition("=") for item in named)}


def plain(data: Any) -> Any:
    """When all is merged: what overrides stands where it is, what is reset is not there."""
    if isinstance(data, Instead):
        return plain(data.value)
    if isinstance(data, dict):
        return {k: plain(v) for k, v in data.items() if not (isinstance(v, Instead) and v.reset)}
    if isinstance(data, list):
        return [plain(item) for item in data if not (isinstance(item, Instead) and item.reset)]
    return data


class _Files:
    """The files of one scenario, each read once."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known
        self.there: dict[Path, Any] = {}

    def read(self, path: Path) -> Any:
        if path.resolve() in self.there:
            return self.there[path.resolve()]
        try:
            data = self.there[path.resolve()] = yaml12.load(read_text(path))
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ScenarioError(f"{path}: line {line}: not YAML: {error.problem}") from None
        except yaml.YAMLError as error:
            raise ScenarioError(f"{path}: not YAML: {error}".replace("\n", " ")) from None
        return data

    def beside(self, path: Path, name: str, key: str) -> Path:
        """A file that `path` names."""
        try:
            return path.parent / substitute(name, self.known)
        except ValueError as error:
            raise ScenarioError(f"{path}: {key}: {error}") from None

    def whole(self, path: Path, including: tuple[Path, ...]) -> Any:
        """A file's data under that of those that it includes, its services complete."""
        data = self.read(path)
        if not isinstance(data, dict):
            return data
        services = data.get("services")
        if isinstance(services, dict):
            data = {**data, "services": {name: self.service(path, services, name, ()) for name in services}}
        if "include" not in data:
            return data
        data, files = {k: v for k, v in data.items() if k != "include"}, data["include"]
        if not isinstance(files, list):
            raise ScenarioError(f"{path}: include: expected a list of files")
        for i, item in enumerate(files):
            wanted = item.get("path") if isinstance(item, dict) else item
            for name in wanted if isinstance(wanted, list) else [wanted]:
                if not isinstance(name, str):
                    raise ScenarioError(f"{path}: include.{i}: expected a file's name, or a mapping with its 'path'")
                other = self.beside(path, name, f"include.{i}")
                if other.resolve() in (path.resolve(), *including):
                    raise ScenarioError(f"{path}: include.{i}: {name} includes itself")
                there = self.whole(other, (path.resolve(), *including))
                data = merge(substitute_some(there, self.own_variables(path, item, other, f"include.{i}")), data)
        return data

    def own_variables(self, path: Path, item: Any, other: Path, key: str) -> dict[str, str]:
        """Those of the `.env` beside an included file, or of the files named instead, where the including one does not know them."""
        item = item if isinstance(item, dict) else {}
        named = item.get("env_file")
        if named is None:
            directory = item.get("project_directory")
            files = [(self.beside(path, directory, key) if isinstance(directory, str) else other.parent) / ".env"]
            files = [file for file in files if file.exists()]
        else:
            files = [self.beside(path, str(name), f"{key}.env_file") for name in (named if isinstance(named, list) else [named])]
        return {k: v for file in files for k, v in env_file(file).items() if k not in self.known}

    def service(self, path: Path, services: dict[str, Any], name: str, extending: tuple[tuple[Path, str], ...]) -> Any:
        """A service over the one that it extends."""
        service = services[name]
        if not isinstance(service, dict) or "extends" not in service:
            return service
        key = f"services.{name}.extends"
        wanted = service["extends"]
        base, file = (wanted.get("service"), wanted.get("file")) if isinstance(wanted, dict) else (wanted, None)
        if not isinstance(base, str) or not isinstance(file, str | None):
            raise ScenarioError(f"{path}: {key}: expected a service's name, or a mapping with 'service' and perhaps 'file'")
        where = path
        others: Any = services
        if file is not None:
            where = self.beside(path, file, f"{key}.file")
            found = self.read(where)
            others = found.get("services") if isinstance(found, dict) else None
        if not isinstance(others, dict) or base not in others:
            raise ScenarioError(f"{path}: {key}: there is no service {base!r} in {where}")
        here = (path.resolve(), name)
        if (where.resolve(), base) in (here, *extending):
            raise ScenarioError(f"{path}: {key}: {base} extends itself")
        return merge(self.service(where, others, base, (here, *extending)), {k: v for k, v in service.items() if k != "extends"})
