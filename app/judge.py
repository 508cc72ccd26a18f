"""Will super-resolution help to read this crop? Asked of each one with `mode=auto`, in under a millisecond.

    crop -> estimate -> blur, noise                 \\
    calibration-<version>.json -> the reader's Rule  } -> Judge.decide -> Decision(method, reason) -> answer

What the numbers are held against is measured, on recognition and for one model, by `python -m bench calibrate`;
the file names that model by the digest of its manifest. A model without one is used as with `mode=always`.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Self

from app import geometry
from app.errors import InvalidParameter, StartupError
from app.estimate import Estimate, estimate
from app.geometry import Chw, Geometry, Layout
from model_store.manifest import PixelSpec
from model_store.pixels import Rgb
from model_store.store import Artefact

Mode = Literal["auto", "always"]
Method = Literal["super_resolved", "enlarged", "kept"]
Reason = Literal["always", "blurred", "uncalibrated", "sharp", "noisy", "too_high"]

DEFAULT_MODE: Mode = "always"  # of the API and the command line
ANY = "any"  # recogniser: whichever it is; the rule holds for each that was measured
SCHEMA_VERSION = 2
REASONS: dict[Reason, str] = {
    "always": "the mode asked for it",
    "blurred": "the network helps crops as blurred as this one",
    "uncalibrated": "`auto` has not been calibrated for this model",
    "sharp": "it is read better as it is",
    "noisy": "the network takes its noise for strokes",
    "too_high": "the network answers fewer rows than it has",
}


@dataclass(frozen=True)
class Aim:
    """What a client wants with its crops. recogniser: who is to read them, as the calibration calls it, or ANY.

    None: they may be for anybody, so all come back at the model's scale.
    """

    mode: Mode = DEFAULT_MODE
    recogniser: str | None = None


ALWAYS = Aim()


@dataclass(frozen=True)
class Decision:
    method: Method
    reason: Reason

    @property
    def infers(self) -> bool:
        return self.method == "super_resolved"


_ALWAYS = Decision("super_resolved", "always")
_UNCALIBRATED = Decision("super_resolved", "uncalibrated")
_BLURRED = Decision("super_resolved", "blurred")
_LEFT_OUT: tuple[Reason, ...] = ("too_high", "sharp", "noisy")
DECISIONS = (
    *(_ALWAYS, _UNCALIBRATED, _BLURRED),
    *(Decision("enlarged", reason) for reason in _LEFT_OUT),
    *(Decision("kept", reason) for reason in _LEFT_OUT),
)


@dataclass(frozen=True)
class Rule:
    """Where super-resolution helps: from a blur upwards (inf: nowhere), to a noise (inf: any); see `Estimate`."""

    min_blur: float
    max_noise: float

    @classmethod
    def from_json(cls, limits: Mapping[str, float | None]) -> Self:
        """Raises KeyError, TypeError or ValueError."""
        found = {field.name: limits[field.name] for field in fields(cls)}
        return cls(**{name: math.inf if limit is None else float(limit) for name, limit in found.items()})

    def as_json(self) -> dict[str, float | None]:
        """JSON has no infinity: null."""
        return {name: None if math.isinf(limit) else limit for name, limit in asdict(self).items()}

    @property
    def never(self) -> bool:
        return math.isinf(self.min_blur)

    def reason(self, found: Estimate) -> Reason:
        if not found.blur >= self.min_blur:
            return "sharp"
        return "noisy" if found.noise > self.max_noise else "blurred"


@dataclass(frozen=True)
class Calibration:
    """rules: by recogniser, ANY among them."""

    rules: Mapping[str, Rule]

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
            fits = (made_for, version) == (digest, SCHEMA_VERSION)
            rules = {name: Rule.from_json(limits) for name, limits in raw["rules"].items()} if fits else {}
            if fits and ANY not in rules:
                raise KeyError(ANY)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise StartupError(
                f"{path} cannot be read ({exc!r}); make it again with `python -m bench calibrate`, or remove it."
            ) from exc
        if not fits:
            raise StartupError(
                f"{path} was made for another model (digest {made_for[:12]}, schema {version}) than this one "
                f"(digest {digest[:12]}, schema {SCHEMA_VERSION}); make it again with `python -m bench calibrate` "
                "or remove it."
            )
        return cls(rules)

    def as_json(self) -> dict[str, dict[str, float | None]]:
        return {name: rule.as_json() for name, rule in self.rules.items()}


def calibration_path(artefact: Artefact) -> Path:
    """Beside the version's folder, which is immutable: model_store/tbsrn/calibration-1.json."""
    return artefact.path.parent / f"calibration-{artefact.manifest.version}.json"


def choose_aim(mode: Mode | None, recogniser: str | None, geometry: Geometry) -> Aim:
    """What was asked for; the rest goes with the recogniser and the geometry. Raises InvalidParameter."""
    if recogniser is not None and mode == "always":
        raise InvalidParameter(
            "recogniser=... asks for what that one reads best, and mode=always for the network in any case; "
            "leave one of them out."
        )
    wanted = mode or ("auto" if recogniser is not None else None)
    if geometry == "native":
        return Aim(wanted or DEFAULT_MODE, recogniser)
    if wanted == "auto":
        raise InvalidParameter(
            "mode=auto and recogniser need geometry=native; geometry=telescope is the reference behaviour, which "
            "always infers."
        )
    return ALWAYS


class Judge:
    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration

    @property
    def recognisers(self) -> list[str]:
        """Whom an aim may name."""
        return list(self.calibration.rules) if self.calibration else []

    def check(self, recogniser: str | None) -> None:
        """Raises InvalidParameter for one that nobody has measured with this model."""
        if recogniser is not None and recogniser not in self.recognisers:
            told = f"known are {', '.join(self.recognisers)}" if self.recognisers else "it has no calibration"
            raise InvalidParameter(f"The model was not calibrated for the recogniser {recogniser!r}; {told}.")

    def may_infer(self, layout: Layout, aim: Aim) -> bool:
        """Whether `decide` could say so of a crop that is not decoded yet: room has to be kept for it."""
        rule = self._rule(aim)
        return bool(layout.starts) and not (rule and rule.never)

    def decide(self, rgb: Rgb, layout: Layout, aim: Aim) -> Decision:
        """What to do with a crop, uint8 (H, W, 3), and why."""
        left_out: Method = "enlarged" if aim.recogniser is None else "kept"
        if not layout.starts:
            return Decision(left_out, "too_high")
        if aim.mode == "always":
            return _ALWAYS
        rule = self._rule(aim)
        if rule is None:
            return _UNCALIBRATED
        reason = rule.reason(estimate(rgb))
        return _BLURRED if reason == "blurred" else Decision(left_out, reason)

    def _rule(self, aim: Aim) -> Rule | None:
        """None: infer in any case."""
        if aim.mode == "always" or self.calibration is None:
            return None
        return self.calibration.rules[aim.recogniser or ANY]


def answer(decision: Decision, crop: Rgb, sr: Sequence[Chw], layout: Layout, spec: PixelSpec) -> Rgb:
    """What was decided, carried out. sr: the network's windows of the crop, none where it was left out."""
    if decision.infers:
        return geometry.merge(sr, layout, spec)
    return crop if decision.method == "kept" else geometry.enlarge(crop, layout)
