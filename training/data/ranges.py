"""Checks that settings drawn from at random have a sense, shared by the degradation and the renderer."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from training.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_ranges(config: DataclassInstance) -> None:
    """ConfigError names a `..._share` outside [0, 1], or a pair that is not (low, high)."""
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name.endswith("_share") and not 0.0 <= value <= 1.0:
            raise ConfigError(f"{field.name} = {value} must lie in [0, 1]")
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            raise ConfigError(f"{field.name} = {value} must be (low, high)")
