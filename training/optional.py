"""Optional packages in training: MissingExtra for one that is missing or broken.

with needs("engine torch", extra="torch"):
    import torch
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec

from model_store.optional import optional
from training.errors import MissingExtra


def needs(
    purpose: str, package: str | None = None, *, extra: str = "train", also: str = ""
) -> AbstractContextManager[None]:
    """`model_store.optional.optional` that raises MissingExtra."""
    return optional(purpose, package, extra=extra, error=MissingExtra, also=also)


def usable(package: str) -> bool:
    """Whether the package is installed and can be imported; logs a warning for a broken one."""
    if find_spec(package) is None:
        return False
    try:
        with needs("a faster form", package):
            import_module(package)
    except MissingExtra as exc:
        logging.getLogger("training").warning("%s", exc)
        return False
    return True
