"""Configuration files: YAML and `-o key.sub=value` into the dataclasses of `training.config`.

    file -> mapping -> overrides applied -> checked against the dataclass -> frozen configuration

Every mistake is one ConfigError that names the file or override, and the key.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from training.data.degrade_config import preset
from training.engines import ENGINES
from training.errors import ConfigError

Config = TypeVar("Config")
Tree = dict[str, Any]


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add -c FILE, -o KEY=VALUE and --engine, the arguments of every configured command."""
    parser.add_argument("-c", "--config", type=Path, required=True, help="YAML file, see training/configs")
    parser.add_argument(
        "-o",
        "--override",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings that override the file, such as run.epochs=10 data.train=DIR",
    )
    parser.add_argument(
        "--engine", choices=tuple(ENGINES), help="framework that trains (default: the file's, or paddle)"
    )


def configured(args: argparse.Namespace, kind: type[Config]) -> Config:
    """The configuration given by the arguments of `add_config_arguments`. Raises ConfigError."""
    engine = [f"engine={args.engine}"] if args.engine else []
    return read_config(args.config, kind, [*args.override, *engine])


def read_config(path: Path, kind: type[Config], overrides: Sequence[str] = ()) -> Config:
    """The configuration of a YAML file with overrides such as "optimiser.learning_rate=2e-4".

    Override values are YAML too: `run.steps=null`, `data.train=[a, b]`. Raises ConfigError.
    """
    tree = _read_yaml(path)
    for override in overrides:
        _lay_over(tree, override)
    return build_config(tree, kind, origin=str(path))


def build_config(tree: Tree, kind: type[Config], *, origin: str) -> Config:
    """Build `kind` from a nested mapping. Raises ConfigError naming `origin` and the key."""
    data = tree.get("data")
    if isinstance(data, dict) and isinstance(data.get("degrade"), str):
        tree = {**tree, "data": {**data, "degrade": asdict(preset(data["degrade"]))}}
    try:
        return TypeAdapter(kind).validate_python(tree)
    except ValidationError as exc:
        raise ConfigError(f"{origin}: {_sentence(exc, kind)}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{origin}: {exc}") from exc


def config_tree(config: object) -> Tree:
    """The configuration as JSON values, the inverse of `build_config`."""
    tree: Tree = TypeAdapter(type(config)).dump_python(config, mode="json")
    return tree


def changed_settings(before: Tree, after: Tree, prefix: str = "") -> list[str]:
    """The differences between two trees, as "run.epochs 100 -> 10"."""
    found: list[str] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += changed_settings(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} {old} -> {new}")
    return found


def _read_yaml(path: Path) -> Tree:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read the configuration {path}: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no settings: expected `key: value` lines")
    return tree


def _lay_over(tree: Tree, override: str) -> None:
    path, equals, text = override.partition("=")
    if not path or not equals:
        raise ConfigError(f"override {override!r} must be KEY=VALUE, such as run.epochs=10")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"override {override!r} has no YAML value: {' '.join(str(exc).split())}") from exc
    *sections, key = path.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if isinstance(below, str) and section == "degrade":
            below = tree[section] = asdict(preset(below))  # so one range of a preset can be changed
        if not isinstance(below, dict):
            raise ConfigError(f"override {override!r}: {section} is {below!r} and holds no settings")
        tree = below
    tree[key] = value


def _sentence(error: ValidationError, kind: type[Any]) -> str:
    first = error.errors(include_url=False)[0]
    place = [str(part) for part in first["loc"]]
    key = ".".join(place)
    if first["type"] == "unexpected_keyword_argument":
        known = _known_keys(kind, place[:-1])
        close = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        return f"unknown setting {key}; {hint}"
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "dataclass_type":
        return f"{key} is {first['input']!r}; expected settings below it"
    return f"{key} is {first['input']!r}: {first['msg'].replace('Input', 'it')}"


def _known_keys(kind: type[Any], place: Sequence[str]) -> list[str]:
    for part in place:
        kind = get_type_hints(kind)[part]
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []
