"""Checks that settings drawn from at random have a sense, shared by the degradation and the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from training.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_ranges(config: DataclassInstance, *, positive: Sequence[str] = (), signed: Sequence[str] = ()) -> None:
    """ConfigError names a `..._share` outside [0, 1], a pair that is not (low, high), or a number below 0.

    positive: settings that may not be 0 either. signed: those that may be negative.
    """
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name.endswith("_share") and not 0.0 <= value <= 1.0:
            raise ConfigError(f"{name} = {value} must lie in [0, 1]")
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            raise ConfigError(f"{name} = {value} must be (low, high)")
        least = min(value) if isinstance(value, tuple) else value
        if least < 0 and name not in signed:
            raise ConfigError(f"{name} = {value} must not be negative")
        if least == 0 and name in positive:
            raise ConfigError(f"{name} = {value} must be above 0")
