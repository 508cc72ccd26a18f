"""The common part of tar and Parquet: every file is a unit, and becomes a file of the same name."""

from collections.abc import Iterator
from pathlib import Path

from app.bulk.entries import Unit
from app.errors import StartupError


def shards(source: Path, suffixes: tuple[str, ...], *, target_suffix: str) -> Iterator[Unit]:
    """One unit per file: the given one, or each in a folder. Raises StartupError if two have the same target."""
    root = source if source.is_dir() else source.parent
    found = sorted(source.rglob("*")) if source.is_dir() else [source]
    targets: dict[str, str] = {}
    for path in found:
        suffix = next((s for s in suffixes if path.name.endswith(s)), None)
        if suffix is None or not path.is_file():
            continue
        shard = str(path.relative_to(root))
        target = shard.removesuffix(suffix) + target_suffix
        if target in targets:
            raise StartupError(f"{targets[target]} and {shard} would both become {target}.")
        targets[target] = shard
        yield Unit(shard, path.stat().st_size, (shard, target))


def shard_paths(source: Path, unit: Unit, output: Path) -> tuple[Path, Path]:
    """Input and output path of a unit."""
    shard, target = unit.content
    return (source if source.is_dir() else source.parent) / shard, output / target
