"""The rules that training makes for a model and that the service applies: which crops to super-resolve, and how.

    python -m training calibrate -> model_store/<name>/calibration-<version>.json -> Calibration -> quality gate

The file also holds each recogniser's limits of second opinions (`client/text_telescope/second_opinion.py`). It
holds the digest of its model's manifest and is refused for any other model. Lengths are in pixels of the crop, as
`model_store/blur.py` measures them.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, Self

from model_store.blur import Estimate
from model_store.errors import InvalidCalibration
from model_store.store import Artefact
from model_store.views import SETS, Look, looks

VIEWED_PIXELS = 16_384  # a word, or a short line: larger crops take long enough with one view
ANY = "any"  # an unknown recogniser; its rule suits every recogniser that was measured
SCHEMA_VERSION = 3
Finding = Literal["blurred", "sharp", "noisy", "blank", "no_gain_for_recogniser"]


@dataclass(frozen=True)
class Rule:
    """Which crops one recogniser reads better after super-resolution, and by which treatment.

    min_blur: the least blur that is super-resolved; inf: no crop is. max_noise: the largest noise, relative to the
    crop's contrast; inf: no limit. target_blur: blur of the crop at its working scale; a crop blurred less keeps
    its scale. strength: share of the network's picture in the output; the rest is the bicubically enlarged crop.
    points: words of 100 that the super-resolved crops gain, measured on words that the rule was not chosen by.
    views: how many of the network are averaged (`model_store/views.py`). strength_of_one: the strength where one
    view must do: in crops of more than VIEWED_PIXELS, and on pages.
    """

    min_blur: float
    max_noise: float
    target_blur: float
    strength: float
    points: float = 0.0
    views: int = 1
    strength_of_one: float | None = None

    @classmethod
    def from_json(cls, limits: Mapping[str, float | None]) -> Self:
        """Raises KeyError, TypeError or ValueError."""
        found = {name: limits[name] for name in ("min_blur", "max_noise", "target_blur", "strength", "points")}
        numbers = {name: math.inf if limit is None else float(limit) for name, limit in found.items()}
        views = limits.get("views")
        return cls(
            **numbers, views=1 if views is None else int(views), strength_of_one=limits.get("strength_of_one")
        )

    def __post_init__(self) -> None:
        """Raises ValueError."""
        strengths = self.strength, self.strength if self.strength_of_one is None else self.strength_of_one
        if not (self.target_blur > 0 and all(0 < strength <= 1 for strength in strengths)):
            raise ValueError(f"target_blur must be positive, and each strength in (0, 1], not {self}")
        if self.views not in SETS:
            raise ValueError(f"views must be one of {sorted(SETS)}, not {self.views}")

    def as_json(self) -> dict[str, float | None]:
        """Infinity, which JSON lacks, becomes null; what does not apply is left out."""
        given = {name: limit for name, limit in asdict(self).items() if limit is not None}
        return {name: None if math.isinf(limit) else limit for name, limit in given.items()}

    @property
    def never(self) -> bool:
        return math.isinf(self.min_blur)

    def for_crop(self, height: int, width: int, *, one_view: bool = False) -> Self:
        """The rule for a crop of this size: with one view, at the strength for it, if the crop is large."""
        if self.views == 1 or not (one_view or height * width > VIEWED_PIXELS):
            return self
        return replace(self, views=1, strength=self.strength_of_one or self.strength, strength_of_one=None)

    def scale(self, blur: float | None) -> float:
        """Working scale of a crop of this blur, in (0, 1]; 1 for an unknown blur (None)."""
        return min(1.0, self.target_blur / blur) if blur else 1.0

    def looks(self, blur: float | None) -> tuple[Look, ...]:
        """The network's looks at a crop of this blur, or of an unknown one (None)."""
        return looks(self.views, self.target_blur / blur if blur else math.inf)

    def finding(self, estimate: Estimate) -> Finding:
        """`blurred`: super-resolve the crop; any other finding is the reason not to."""
        if self.never:
            return "no_gain_for_recogniser"
        if estimate.is_blank:
            return "blank"
        if estimate.blur < self.min_blur:
            return "sharp"
        return "blurred" if math.isinf(self.max_noise) or estimate.noise <= self.max_noise else "noisy"

    def description(self) -> str:
        """The rule in one line, for people."""
        if self.never:
            return "never super-resolves: no kind of crop was read better by it"
        noise = "" if math.isinf(self.max_noise) else f", up to a noise of {self.max_noise:.2f} of their contrast"
        every = f"crops blurred by {self.min_blur:.1f} px and more" if self.min_blur > 0 else "every crop"
        return f"super-resolves {every}{noise}; {self.points:+.1f} points on those"


# Without calibration: full strength, at the target blur that most recognisers read best.
UNCALIBRATED = Rule(min_blur=0, max_noise=math.inf, target_blur=1.8, strength=1)


@dataclass(frozen=True)
class SecondOpinion:
    """When a recogniser should read a crop again, super-resolved, and which reading it should keep.

    below: the recogniser's confidence, in [0, 1], under which it should. margin: the second reading is kept if its
    confidence is larger than the first one's by more than this. The other fields are of the
    super-resolution, as in `Rule`; None: that of the recogniser's rule.
    """

    below: float
    margin: float
    target_blur: float | None = None
    strength: float | None = None
    views: int | None = None
    strength_of_one: float | None = None

    @classmethod
    def from_json(cls, limits: Mapping[str, float]) -> Self:
        """Raises KeyError, TypeError or ValueError."""
        given = (field.name for field in fields(cls) if field.name in limits or field.default is MISSING)
        numbers = {name: float(limits[name]) for name in given if name != "views"}
        found = cls(**numbers, views=int(limits["views"]) if "views" in limits else None)
        if not (0 <= found.below <= 1 and -1 <= found.margin <= 1):
            raise ValueError(f"below must be in [0, 1], and margin in [-1, 1], not {found}")
        return found

    def as_json(self) -> dict[str, float]:
        """What is not given is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def treatment(self, rule: Rule) -> Rule:
        """The recogniser's rule with the treatment of its second opinions. Raises ValueError."""
        own = {name: getattr(self, name) for name in ("target_blur", "strength", "views", "strength_of_one")}
        return replace(rule, **{name: value for name, value in own.items() if value is not None})

    def sends(self, confidence: float) -> bool:
        """Whether a crop read with this confidence should be read again."""
        return confidence < self.below

    def keeps_second(self, plain: float, second: float) -> bool:
        """By the confidences of both readings."""
        return second > plain + self.margin


@dataclass(frozen=True)
class Calibration:
    """rules: by recogniser, ANY among them. second_opinions: by recogniser; none in files of earlier versions."""

    rules: Mapping[str, Rule]
    second_opinions: Mapping[str, SecondOpinion] = field(default_factory=dict)

    @classmethod
    def of(cls, artefact: Artefact) -> "Calibration | None":
        """The calibration beside the model's folder; None if there is none. Raises InvalidCalibration."""
        path = calibration_path(artefact)
        return cls.read(path, digest=artefact.digest) if path.exists() else None

    @classmethod
    def read(cls, path: Path, *, digest: str) -> "Calibration":
        """digest: of the manifest of the model in use.

        Raises InvalidCalibration for a file that is damaged or was made for other weights.
        """
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            made_for, version = str(raw["digest"]), raw["schema_version"]
            if (made_for, version) != (digest, SCHEMA_VERSION):
                raise InvalidCalibration(
                    f"{path} was made for another model (digest {made_for[:12]}, schema {version}) than this one "
                    f"(digest {digest[:12]}, schema {SCHEMA_VERSION}); make it again with "
                    "`python -m training calibrate` or remove it"
                )
            limits = raw.get("second_opinions", {}).get("limits", {})
            found = cls(
                {name: Rule.from_json(one) for name, one in raw["rules"].items()},
                {name: SecondOpinion.from_json(one) for name, one in limits.items()},
            )
            for name in (ANY, *found.second_opinions):
                found.rule(name, every_crop=True)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
            raise InvalidCalibration(
                f"{path} cannot be read ({exc!r}); make it again with `python -m training calibrate`, or remove it"
            ) from exc
        return found

    def rule(self, recogniser: str | None, *, every_crop: bool = False) -> Rule:
        """The recogniser's rule; that of ANY for one without.

        every_crop: with target blur, strength and views for crops that are super-resolved at any blur.
        """
        name = recogniser if recogniser and recogniser in self.rules else ANY
        opinion = self.second_opinions.get(name) if every_crop else None
        return opinion.treatment(self.rules[name]) if opinion else self.rules[name]

    def as_json(self) -> dict[str, dict[str, float | None]]:
        return {name: rule.as_json() for name, rule in self.rules.items()}


def calibration_path(artefact: Artefact) -> Path:
    """Beside the version's folder, which is immutable: model_store/tbsrn/calibration-1.json."""
    return artefact.path.parent / f"calibration-{artefact.manifest.version}.json"
