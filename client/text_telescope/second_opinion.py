"""Second opinions: a recogniser reads its crops, and again the few that it is unsure of, super-resolved.

    crops -> reader -> less confident than `below` -> service -> reader -> surer by `margin`? -> Reading

`TelescopeClient.read` and `AsyncTelescopeClient.read` take these steps in order; the steps themselves neither send
nor wait. `below` and `margin` were calibrated for each recogniser, because a recogniser is surer of sharper
pictures even where it is wrong; the service lists them in `GET /v1/models`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from text_telescope.exchange import BadImage, BadRequest, TelescopeError, TooLarge
from text_telescope.pictures import Answer, Channels, as_given, is_array, is_pil

if TYPE_CHECKING:
    from text_telescope.pictures import Picture

Reader = Callable[[list[Any]], Any]  # crops -> a (text, confidence) for each, in order
Errors = Literal["keep", "raise"]
ROUNDED = 1e-3  # beyond 1: a mean of float32 probabilities may be


class Opinion(NamedTuple):
    """One reading of one picture. confidence: the reader's own, from 0 to 1."""

    text: str
    confidence: float


@dataclass(frozen=True)
class Reading:
    """The surer of two readings of a crop.

    super_resolved: None if the crop was read once only: the reader was sure of it, or the service failed, as
    `error` says. sent: True if the service was asked.
    """

    plain: Opinion
    super_resolved: Opinion | None = None
    kept: Literal["plain", "super_resolved"] = "plain"
    sent: bool = False
    error: TelescopeError | None = None

    @property
    def text(self) -> str:
        return self._kept.text

    @property
    def confidence(self) -> float:
        return self._kept.confidence

    @property
    def _kept(self) -> Opinion:
        return self.super_resolved if self.super_resolved and self.kept == "super_resolved" else self.plain


class Limits(NamedTuple):
    """below: plain confidence under which a crop is sent. margin: by how much the second reading must be surer."""

    below: float
    margin: float


class SecondOpinions:
    """The steps of one call of `read`, each called once, in the order of the methods."""

    def __init__(self, crops: Sequence[Picture], *, errors: Errors, channels: Channels) -> None:
        """Raises TypeError for a crop that is no array, PIL image or bytes, ValueError for another `errors`."""
        if errors not in ("keep", "raise"):
            raise ValueError(f"errors must be 'keep' or 'raise', not {errors!r}.")
        self.crops: list[Any] = [_readable(crop) for crop in crops]
        self.error: TelescopeError | None = None  # of the service as a whole
        self._errors = errors
        self._channels = channels
        self._limits: Limits | None = None
        self._plain: list[Opinion] = []
        self._unsure: list[int] = []
        self._again: list[int] = []
        self._second: dict[int, Opinion] = {}
        self._failed: dict[int, BadImage] = {}
        self.changed: list[Any] = []  # super-resolved pictures, each of its crop's kind

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around a request. With errors="keep" a failure of the service is kept, and the plain readings stand.

        A request that is wrong in itself raises its BadRequest: no later request would be right.
        """
        try:
            yield
        except TelescopeError as error:
            is_wrong = isinstance(error, BadRequest) and not isinstance(error, TooLarge)
            if is_wrong or self._errors == "raise":
                raise
            self.error = error

    def use(self, limits: Limits) -> None:
        self._limits = limits

    def take_plain(self, found: Iterable[Any]) -> None:
        """found: the reader's results for `crops`. Raises ValueError for results of another form."""
        self._plain = _opinions(found, len(self.crops))
        if self._limits:
            self._unsure = [i for i, own in enumerate(self._plain) if own.confidence < self._limits.below]

    @property
    def unsure(self) -> list[Any]:
        """The crops to send."""
        return [self.crops[i] for i in self._unsure]

    def take_answers(self, answers: Sequence[Answer | BadImage]) -> None:
        """answers: the service's, for `unsure`. Blocking: decodes them. Raises BadImage with errors="raise"."""
        for i, answer in zip(self._unsure, answers, strict=True):
            if isinstance(answer, BadImage):
                self._failed[i] = BadImage(i, answer.problem)
                if self._errors == "raise":
                    raise self._failed[i]
            elif answer.method == "super_resolved":
                self._again.append(i)
                self.changed.append(_in_kind(answer, self.crops[i], self._channels))

    def take_second(self, found: Iterable[Any]) -> None:
        """found: the reader's results for `changed`. Raises ValueError as `take_plain`."""
        self._second = dict(zip(self._again, _opinions(found, len(self._again)), strict=True))

    def readings(self) -> list[Reading]:
        """One for each crop, in order."""
        sent = set(self._unsure)
        return [
            Reading(
                plain,
                self._second.get(i),
                "super_resolved" if self._is_surer(i) else "plain",
                sent=i in sent,
                error=self._failed.get(i) or (self.error if i in sent or not self._limits else None),
            )
            for i, plain in enumerate(self._plain)
        ]

    def _is_surer(self, i: int) -> bool:
        if i not in self._second:
            return False
        assert self._limits
        return self._second[i].confidence > self._plain[i].confidence + self._limits.margin


def given_limits(below: float | None, margin: float | None) -> Limits | None:
    """The caller's own limits; None if the service's apply. Raises ValueError."""
    if below is None and margin is None:
        return None
    if below is None or margin is None:
        raise ValueError("Give both below and margin, or neither of them to use those of the service.")
    if not (0 <= below <= 1 and -1 <= margin <= 1):
        raise ValueError(f"below={below} and margin={margin} must be confidences from 0 to 1, and not percent.")
    return Limits(below, margin)


def listed_limits(model: Mapping[str, Any], recogniser: str) -> Limits:
    """model: as `GET /v1/models` lists it. Raises ValueError if the recogniser has no limits."""
    listed = model.get("second_opinions") or {}
    if recogniser not in listed:
        known = f"it has limits for {', '.join(listed) or 'no recogniser'}"
        name = f"{model['name']}:{model['version']}"
        raise ValueError(
            f"{name} is not calibrated for second opinions of {recogniser!r}; {known}. "
            "Give below and margin yourself, such as below=0.9, margin=0.1."
        )
    return Limits(listed[recogniser]["below"], listed[recogniser]["margin"])


def _readable(crop: object) -> object:
    """A crop that a reader may get twice: as it is, and as a super-resolved picture of the same kind."""
    if is_array(crop) or is_pil(crop) or isinstance(crop, bytes):
        return crop
    raise TypeError(f"A crop to be read must be an array, a PIL image or bytes, and not a {type(crop).__name__}.")


def _in_kind(answer: Answer, crop: object, channels: Channels) -> Any:  # noqa: ANN401  of three kinds
    return answer.data if isinstance(crop, bytes) else as_given(answer, crop, channels)


def _opinions(found: Iterable[Any], expected: int) -> list[Opinion]:
    results = list(found)
    if len(results) != expected:
        raise ValueError(
            f"The reader gave {len(results)} results for {expected} crops; it must give one (text, confidence) "
            "for each crop, in order, and ('', 0) for a crop without text."
        )
    return [_opinion(result, i) for i, result in enumerate(results)]


def _opinion(result: Any, i: int) -> Opinion:  # noqa: ANN401  the caller's
    try:
        text, confidence = result
        sure = float(confidence)
    except (TypeError, ValueError) as exc:
        raise _no_opinion(result, i) from exc
    if not isinstance(text, str):
        raise _no_opinion(result, i)
    if not 0 <= sure <= 1 + ROUNDED:
        raise ValueError(
            f"The reader's result {i} has the confidence {sure:g}; confidences go from 0 to 1, so divide those of "
            "Tesseract by 100, and give ('', 0) for a crop without text."
        )
    return Opinion(text, min(sure, 1.0))


def _no_opinion(result: object, i: int) -> ValueError:
    return ValueError(f"The reader's result {i} must be (text, confidence), not {result!r:.100}.")
