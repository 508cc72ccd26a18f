"""Will super-resolution help to read this crop? Asked of each one with `mode=auto`, in under a millisecond.

    crop -> estimate -> blur, noise           \\
    calibration-<version>.json -> Calibration  } -> Judge.decide -> Decision(method, reason)

What the numbers are held against is measured, on recognition and for one model, by `python -m bench calibrate`;
the file names that model by the digest of its manifest. A model without one is used as with `mode=always`.
"""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from app.errors import InvalidParameter, StartupError
from app.estimate import estimate
from app.geometry import Geometry, Layout
from model_store.pixels import Rgb
from model_store.store import Artefact

Mode = Literal["auto", "always"]
Method = Literal["super_resolved", "enlarged"]
Reason = Literal["always", "blurred", "uncalibrated", "sharp", "noisy", "too_high"]

DEFAULT_MODE: Mode = "always"  # of the API and the command line
SCHEMA_VERSION = 1
REASONS: dict[Reason, str] = {
    "always": "the mode asked for it",
    "blurred": "the network helps crops as blurred as this one",
    "uncalibrated": "`auto` has not been calibrated for this model",
    "sharp": "it is read better as it is",
    "noisy": "the network takes its noise for strokes",
    "too_high": "the network answers fewer rows than it has",
}


@dataclass(frozen=True)
class Decision:
    method: Method
    reason: Reason

    @property
    def infers(self) -> bool:
        return self.method == "super_resolved"


_TOO_HIGH = Decision("enlarged", "too_high")
_ALWAYS = Decision("super_resolved", "always")
_UNCALIBRATED = Decision("super_resolved", "uncalibrated")
_BLURRED = Decision("super_resolved", "blurred")
_SHARP = Decision("enlarged", "sharp")
_NOISY = Decision("enlarged", "noisy")
DECISIONS = (_TOO_HIGH, _ALWAYS, _UNCALIBRATED, _BLURRED, _SHARP, _NOISY)


@dataclass(frozen=True)
class Calibration:
    """Where super-resolution helps: from a blur upwards (inf: nowhere), to a noise (inf: any); see `Estimate`."""

    min_blur: float
    max_noise: float

    @classmethod
    def of(cls, artefact: Artefact) -> "Calibration | None":
        """The model's own, from beside its folder; None where there is none. Raises what `read` raises."""
        path = calibration_path(artefact)
        return cls.read(path, digest=artefact.digest) if path.exists() else None

    @classmethod
    def read(cls, path: Path, *, digest: str) -> "Calibration":
        """digest: of the model it is to be used with.

        Raises StartupError for a file that is damaged, or was made for other weights.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            made_for, version = str(raw["digest"]), raw["schema_version"]
            limits = {name: math.inf if raw["rule"][name] is None else float(raw["rule"][name]) for name in FIELDS}
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise StartupError(
                f"{path} cannot be read ({exc!r}); make it again with `python -m bench calibrate`, or remove it."
            ) from exc
        if version != SCHEMA_VERSION or made_for != digest:
            raise StartupError(
                f"{path} was made for another model (digest {made_for[:12]}, schema {version}) than this one "
                f"(digest {digest[:12]}, schema {SCHEMA_VERSION}); make it again with `python -m bench calibrate` "
                "or remove it."
            )
        return cls(**limits)

    def as_json(self) -> dict[str, float | None]:
        """JSON has no infinity: null."""
        return {name: None if math.isinf(limit) else limit for name, limit in asdict(self).items()}


FIELDS = tuple(field.name for field in fields(Calibration))


def calibration_path(artefact: Artefact) -> Path:
    """Beside the version's folder, which is immutable: model_store/tbsrn/calibration-1.json."""
    return artefact.path.parent / f"calibration-{artefact.manifest.version}.json"


def choose_mode(wanted: Mode | None, geometry: Geometry) -> Mode:
    """The mode that was asked for, or the one that goes with the geometry. Raises InvalidParameter."""
    if geometry == "native":
        return wanted or DEFAULT_MODE
    if wanted == "auto":
        raise InvalidParameter(
            "mode=auto needs geometry=native; geometry=telescope is the reference behaviour, which always infers."
        )
    return "always"


class Judge:
    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration

    def may_infer(self, layout: Layout, mode: Mode) -> bool:
        """Whether `decide` could say so of a crop that is not decoded yet: room has to be kept for it."""
        never = self.calibration is not None and math.isinf(self.calibration.min_blur)
        return bool(layout.starts) and not (mode == "auto" and never)

    def decide(self, rgb: Rgb, layout: Layout, mode: Mode) -> Decision:
        """What to do with a crop, uint8 (H, W, 3), and why."""
        if not layout.starts:
            return _TOO_HIGH
        if mode == "always":
            return _ALWAYS
        if self.calibration is None:
            return _UNCALIBRATED
        found = estimate(rgb)
        if not found.blur >= self.calibration.min_blur:
            return _SHARP
        return _NOISY if found.noise > self.calibration.max_noise else _BLURRED
