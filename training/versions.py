"""What was installed when something was made, for records and reports."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import packages_distributions, version


def versions(modules: Sequence[str]) -> dict[str, str]:
    """Versions by the names of the packages that bring these modules; what is not installed is left out.

    Asked by module, for `paddle`, `cv2` and `onnxruntime` each come in several packages.
    """
    packages = packages_distributions()
    brought_by = {name: None for module in modules for name in packages.get(module, [])}
    return {name: version(name) for name in brought_by}
