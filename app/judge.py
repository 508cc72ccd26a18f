"""Will super-resolution help to read this crop, and at which working scale? Under a millisecond a crop.

    crop -> estimate -> blur, noise                     \\
    calibration-<version>.json -> the recogniser's Rule  } -> Judge.decide -> Decision

The limits of a rule are measured, on recognition and for one model, by `python -m bench calibrate`; the file names
that model by the digest of its manifest. A model without one super-resolves every crop that is not blank.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Self

from app.errors import InvalidParameter, StartupError
from app.estimate import Estimate, estimate
from app.tiling import Geometry
from model_store.pixels import Rgb
from model_store.store import Artefact

Mode = Literal["auto", "always"]
Method = Literal["super_resolved", "enlarged", "kept"]
Reason = Literal["always", "blurred", "uncalibrated", "sharp", "noisy", "blank", "no_gain_for_recogniser"]

DEFAULT_MODE: Mode = "auto"  # of the API and the command line
ANY = "any"  # recogniser: one that is not known; the rule holds for each that was measured
SCHEMA_VERSION = 3
REASONS: dict[Reason, str] = {
    "always": "the mode asked for it",
    "blurred": "the network helps crops as blurred as this one",
    "uncalibrated": "`auto` has not been calibrated for this model",
    "sharp": "it is so little blurred that it is read better as it is",
    "noisy": "the network takes its noise for strokes",
    "blank": "it is a plain ground without text",
    "no_gain_for_recogniser": "this recogniser reads no kind of crop better after this network",
}


@dataclass(frozen=True)
class Aim:
    """What a client wants with its crops.

    recogniser: of the answer, as the calibration calls it, or ANY. None: not known, and every crop is answered at
    the model's scale.
    """

    mode: Mode = DEFAULT_MODE
    recogniser: str | None = None


@dataclass(frozen=True)
class Decision:
    """What is done with one crop, and why.

    scale: at which the network sees it, in (0, 1]. strength: how much of the answer is the network's, the rest
    being the bicubically enlarged crop. blur: as measured, in pixels of the crop; None where nothing was measured.
    """

    method: Method
    reason: Reason
    scale: float = 1.0
    strength: float = 1.0
    blur: float | None = None

    @property
    def infers(self) -> bool:
        return self.method == "super_resolved"


REFERENCE = Decision("super_resolved", "always")  # geometry=telescope: nothing is measured
_LEFT_OUT: tuple[Reason, ...] = ("sharp", "noisy", "blank", "no_gain_for_recogniser")
_INFERRED: tuple[Reason, ...] = ("always", "blurred", "uncalibrated")
DECISIONS: list[tuple[Method, Reason]] = [  # every method with the reasons that it may have
    *[("super_resolved", reason) for reason in _INFERRED],
    *[("enlarged", reason) for reason in _LEFT_OUT],
    *[("kept", reason) for reason in _LEFT_OUT],
]


@dataclass(frozen=True)
class Rule:
    """Where super-resolution helps, and how it is done there; lengths in pixels of the crop, see `Estimate`.

    min_blur: from which upwards; inf: nowhere. max_noise: up to which; inf: any. target_blur: the working scale is
    the one at which the crop's blur is this, 1 where it is less. strength: see `Decision`. points: what the crops
    that it super-resolves gain, in words of 100, measured on words that the rule was not chosen by.
    """

    min_blur: float
    max_noise: float
    target_blur: float
    strength: float
    points: float = 0.0

    @classmethod
    def from_json(cls, limits: Mapping[str, float | None]) -> Self:
        """Raises KeyError, TypeError or ValueError."""
        found = {field.name: limits[field.name] for field in fields(cls)}
        rule = cls(**{name: math.inf if limit is None else float(limit) for name, limit in found.items()})
        if not (rule.target_blur > 0 and 0 < rule.strength <= 1):
            raise ValueError(f"target_blur must be positive, and strength in (0, 1], not {rule}")
        return rule

    def as_json(self) -> dict[str, float | None]:
        """JSON has no infinity: null."""
        return {name: None if math.isinf(limit) else limit for name, limit in asdict(self).items()}

    @property
    def never(self) -> bool:
        return math.isinf(self.min_blur)

    def scale(self, blur: float | None) -> float:
        """At which the network sees a crop of this blur; None: not known."""
        return min(1.0, self.target_blur / blur) if blur else 1.0

    def reason(self, found: Estimate) -> Reason:
        if self.never:
            return "no_gain_for_recogniser"
        if found.is_blank:
            return "blank"
        if found.blur < self.min_blur:
            return "sharp"
        return "blurred" if math.isinf(self.max_noise) or found.noise <= self.max_noise else "noisy"

    def told(self) -> str:
        """What it does, in one line."""
        if self.never:
            return "never super-resolves: no kind of crop was read better by it"
        noise = "" if math.isinf(self.max_noise) else f", up to a noise of {self.max_noise:.2f} of their contrast"
        every = f"crops blurred by {self.min_blur:.1f} px and more" if self.min_blur > 0 else "every crop"
        return f"super-resolves {every}{noise}; {self.points:+.1f} points on those"


# Where nothing was calibrated, and with mode=always: what most recognisers read best, at full strength.
UNCALIBRATED = Rule(min_blur=0, max_noise=math.inf, target_blur=1.8, strength=1)
ALWAYS = Aim("always")
UNTOLD = Aim()  # of a client that says nothing


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
    def recognisers(self) -> dict[str, str]:
        """Every recogniser that an aim may name, and what its rule does."""
        rules = self.calibration.rules if self.calibration else {}
        return {name: rule.told() for name, rule in rules.items()}

    def check(self, recogniser: str | None) -> None:
        """Raises InvalidParameter for one that was not measured with this model."""
        known = self.recognisers
        if recogniser is not None and recogniser not in known:
            told = f"known are {', '.join(known)}" if known else "it has no calibration"
            raise InvalidParameter(f"The model was not calibrated for the recogniser {recogniser!r}; {told}.")

    def largest_scale(self, aim: Aim) -> float | None:
        """Of the working scales that `decide` may choose for a crop not decoded yet; None: it never infers."""
        if aim.mode == "always" or not self.calibration:
            return 1.0
        rule = self.calibration.rules[aim.recogniser or ANY]
        return None if rule.never else rule.scale(rule.min_blur)

    def decide(self, rgb: Rgb, aim: Aim) -> Decision:
        """What to do with a crop, uint8 (H, W, 3), and why."""
        found = estimate(rgb)
        blur = None if found.is_blank else found.blur
        if aim.mode == "always" or not self.calibration:
            why: Reason = "always" if aim.mode == "always" else "uncalibrated"
            return Decision("super_resolved", why, UNCALIBRATED.scale(blur), UNCALIBRATED.strength, blur)
        rule = self.calibration.rules[aim.recogniser or ANY]
        reason = rule.reason(found)
        if reason == "blurred":
            return Decision("super_resolved", reason, rule.scale(blur), rule.strength, blur)
        return Decision("enlarged" if aim.recogniser is None else "kept", reason, blur=blur)
