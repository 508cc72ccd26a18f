"""Versions of installed packages, for records and reports."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import packages_distributions, version


def versions(modules: Sequence[str]) -> dict[str, str]:
    """Package name -> version, of the installed packages that provide these modules.

    The arguments are modules because several packages provide each of `paddle`, `cv2` and `onnxruntime`.
    """
    packages = packages_distributions()
    providers = {name: None for module in modules for name in packages.get(module, [])}
    return {name: version(name) for name in providers}
