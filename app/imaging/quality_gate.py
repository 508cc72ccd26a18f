"""Decides for one crop whether to super-resolve it, and at which working scale; under a millisecond a crop.

    crop -> estimate -> blur, noise                      \\
    calibration-<version>.json -> the recogniser's Rule   } -> QualityGate.decide -> Decision

A model without calibration super-resolves every crop.
"""

from dataclasses import dataclass
from typing import Literal

from app.errors import InvalidParameter
from model_store.blur import estimate
from model_store.calibration import UNCALIBRATED, Calibration, Rule, SecondOpinion
from model_store.pixels import Rgb, Size
from model_store.tiling import Geometry
from model_store.views import Look

Mode = Literal["auto", "always"]
Method = Literal["super_resolved", "enlarged", "kept"]
Reason = Literal[
    "always", "blurred", "uncalibrated", "unsure", "sharp", "noisy", "blank", "no_gain_for_recogniser", "sure"
]

DEFAULT_MODE: Mode = "auto"  # of the API and the command line
REASONS: dict[Reason, str] = {
    "always": "the mode asked for it",
    "blurred": "the network helps crops as blurred as this one",
    "uncalibrated": "`auto` has not been calibrated for this model",
    "unsure": "the recogniser is unsure of it as it is",
    "sharp": "it is so little blurred that it is read better as it is",
    "noisy": "the network takes its noise for strokes",
    "blank": "it is a plain ground without text",
    "no_gain_for_recogniser": "this recogniser reads no kind of crop better after this network",
    "sure": "the recogniser is sure of it as it is",
}


@dataclass(frozen=True)
class RoutingPolicy:
    """Which crops go through the network.

    recogniser: the reader of the output, as the calibration names it, or ANY. None: unknown, so the rule for ANY
    decides, and every crop is returned at the model's scale. Mode "always" uses the treatment of second opinions.
    sure: whether the recogniser has read the crop and is sure of it: then it is kept, else super-resolved as with
    mode "always". None: it has not read it.
    """

    mode: Mode = DEFAULT_MODE
    recogniser: str | None = None
    sure: bool | None = None


ALWAYS = RoutingPolicy("always")
DEFAULT_POLICY = RoutingPolicy()


@dataclass(frozen=True)
class Decision:
    """The treatment of one crop, and the reason for it.

    scale: working scale, in (0, 1]. strength: share of the network's picture in the output, the rest being the
    bicubically enlarged crop. blur: as measured, in pixels of the crop; None if it was not measured. looks: of the
    network at the crop (`model_store/views.py`).
    """

    method: Method
    reason: Reason
    scale: float = 1.0
    strength: float = 1.0
    blur: float | None = None
    looks: tuple[Look, ...] = (Look(),)

    @property
    def infers(self) -> bool:
        return self.method == "super_resolved"


REFERENCE = Decision("super_resolved", "always")  # geometry=telescope: nothing is measured
_LEFT_OUT: tuple[Reason, ...] = ("sharp", "noisy", "blank", "no_gain_for_recogniser")
_INFERRED: tuple[Reason, ...] = ("always", "blurred", "uncalibrated", "unsure")
DECISIONS: list[tuple[Method, Reason]] = [  # every method with its possible reasons
    *[("super_resolved", reason) for reason in _INFERRED],
    *[("enlarged", reason) for reason in _LEFT_OUT],
    *[("kept", reason) for reason in (*_LEFT_OUT, "sure")],
]


def routing_policy(mode: Mode | None, recogniser: str | None, geometry: Geometry) -> RoutingPolicy:
    """The policy of a request; the default mode follows from recogniser and geometry. Raises InvalidParameter."""
    wanted = mode or ("auto" if recogniser is not None else None)
    if geometry == "native":
        return RoutingPolicy(wanted or DEFAULT_MODE, recogniser)
    if wanted == "auto" or recogniser is not None:
        raise InvalidParameter(
            "mode=auto and recogniser need geometry=native; geometry=telescope is the reference behaviour, which "
            "always infers."
        )
    return ALWAYS


class QualityGate:
    """Applies a model's calibration. calibration: None for a model without one."""

    def __init__(self, calibration: Calibration | None = None) -> None:
        self.calibration = calibration

    @property
    def recognisers(self) -> dict[str, str]:
        """Every recogniser that a policy may name, with its rule in one line."""
        rules = self.calibration.rules if self.calibration else {}
        return {name: rule.description() for name, rule in rules.items()}

    @property
    def second_opinions(self) -> dict[str, SecondOpinion]:
        """By recogniser."""
        return dict(self.calibration.second_opinions) if self.calibration else {}

    def check(self, recogniser: str | None) -> None:
        """Raises InvalidParameter for a recogniser that was not measured with this model."""
        known = self.recognisers
        if recogniser is not None and recogniser not in known:
            choices = f"known are {', '.join(known)}" if known else "it has no calibration"
            raise InvalidParameter(f"The model was not calibrated for the recogniser {recogniser!r}; {choices}.")

    def most(self, size: Size, policy: RoutingPolicy, *, one_view: bool = False) -> tuple[Look, ...]:
        """Looks that take no less time than those of any crop of this size; none: the network is never used.

        one_view: as for `decide`.
        """
        if policy.sure:
            return ()
        rule, asked = self._rule(size, policy, one_view)
        if asked:
            return rule.looks(None)
        return () if rule.never else rule.looks(rule.min_blur)

    def decide(self, rgb: Rgb, policy: RoutingPolicy, *, one_view: bool = False) -> Decision:
        """The treatment of a crop, uint8 (H, W, 3). one_view: it is one of the many of a page."""
        if policy.sure:
            return Decision("kept", "sure")
        measured = estimate(rgb)
        blur = None if measured.is_blank else measured.blur
        rule, asked = self._rule((rgb.shape[0], rgb.shape[1]), policy, one_view)
        finding = asked or rule.finding(measured)
        if asked or finding == "blurred":
            return Decision("super_resolved", finding, rule.scale(blur), rule.strength, blur, rule.looks(blur))
        return Decision("enlarged" if policy.recogniser is None else "kept", finding, blur=blur)

    def _rule(self, size: Size, policy: RoutingPolicy, one_view: bool) -> tuple[Rule, Reason | None]:
        """The rule for a crop of this size, and the reason if it super-resolves every crop."""
        asked: Reason | None = "always" if policy.mode == "always" else "unsure" if policy.sure is False else None
        if not self.calibration:
            return UNCALIBRATED, asked or "uncalibrated"
        rule = self.calibration.rule(policy.recogniser, every_crop=asked is not None)
        return rule.for_crop(*size, one_view=one_view), asked
