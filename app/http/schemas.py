"""The JSON of responses."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from app.imaging.quality_gate import REASONS, Method, Reason

_REASONS = "Why: " + "; ".join(f"`{reason}`: {why}" for reason, why in REASONS.items()) + "."


class Problem(BaseModel):
    """RFC 9457 problem details, as `application/problem+json`."""

    type: str = Field(examples=["urn:text-telescope:problem:undecodable_image"])
    title: str = Field(examples=["The image cannot be decoded"])
    status: int = Field(examples=[400])
    detail: str = Field(examples=["The image data is damaged or cut off (image file is truncated)."])
    code: str = Field(description="Stable; programs may rely on it.", examples=["undecodable_image"])
    request_id: str = Field(examples=["8f14e45fceea467a9c1d3b2a5e6f7081"])


class ModelRef(BaseModel):
    name: str = Field(examples=["tbsrn"])
    version: int = Field(examples=[1])
    digest: str = Field(description="SHA-256 of the model's manifest.")


class PixelSize(BaseModel):
    width: int
    height: int


class DoneImage(BaseModel):
    """One image with its result."""

    outcome: Literal["ok"] = "ok"
    index: int = Field(description="Position in the request, from 0.")
    filename: str | None
    input: PixelSize
    output: PixelSize
    method: Method = Field(description="`enlarged`: without the network. `kept`: the crop as it was.")
    reason: Reason = Field(description=_REASONS)
    blur_px: float | None = Field(
        description="Measured: standard deviation of a Gaussian, in pixels of the crop; null: not measured."
    )
    working_scale: float | None = Field(
        description="Scale at which the network saw the crop; of several views, the middle one; null: none.",
        examples=[0.64],
    )
    strength: float | None = Field(
        description="Share of the network's picture in the result, the rest being the enlarged crop; null: none."
    )
    media_type: str = Field(examples=["image/png"])
    data: str | None = Field(
        description="The picture: base64, or its name in the ZIP; null if it was put back onto its page."
    )


class FailedImage(BaseModel):
    """One image without a result; its neighbours are not affected."""

    outcome: Literal["failed"] = "failed"
    index: int
    filename: str | None
    problem: Problem


class RecomposedPage(BaseModel):
    """The page at twice its size, the super-resolved regions in their places."""

    output: PixelSize
    media_type: str = Field(examples=["image/png"])
    data: str | None = Field(description="The picture: base64, or its name in the ZIP.")


class SuperResolveResponse(BaseModel):
    model: ModelRef
    images: list[Annotated[DoneImage | FailedImage, Field(discriminator="outcome")]] = Field(
        description="One entry per image or region, in order."
    )
    page: RecomposedPage | None = Field(None, description="Of a page with `recompose=true`.")


class LineText(BaseModel):
    text: str = Field(description="Empty if nothing was read.", examples=["Harbour Market"])
    confidence: float = Field(description="The recogniser's own, from 0 to 1.", examples=[0.98])


class LineReading(LineText):
    """The surer of two readings of a line."""

    kept: Literal["plain", "super_resolved"]
    plain: LineText = Field(description="Of the line as it is.")
    super_resolved: LineText | None = Field(description="null: the line was not super-resolved.")


class _Line(BaseModel):
    box: list[tuple[float, float]] = Field(
        description="Four corners, clockwise from the text's top left, in pixels of the page.",
        examples=[[(15, 20), (90, 24), (89, 43), (14, 39)]],
    )
    detection_confidence: float = Field(description="The detector's own, from 0 to 1.", examples=[0.91])


class DoneLine(_Line, DoneImage):
    """One line of a page with its result."""

    reading: LineReading | None = Field(description="With `read=true`.")


class FailedLine(_Line, FailedImage):
    """One line without a result; its neighbours are not affected."""


class PageReadingResponse(BaseModel):
    model: ModelRef
    recogniser: str | None = Field(description="With `read=true`.", examples=["rapidocr-v6"])
    recogniser_version: str | None = Field(examples=["rapidocr 3.10.0"])
    input: PixelSize
    text: str | None = Field(description="With `read=true`: a line of text for each line of the page.")
    lines: list[Annotated[DoneLine | FailedLine, Field(discriminator="outcome")]] = Field(
        description="In reading order."
    )
    page: RecomposedPage | None = Field(description="With `recompose=true`.")


class SecondOpinionLimits(BaseModel):
    below: float = Field(description="Confidence, from 0 to 1, under which a crop should be read super-resolved.")
    margin: float = Field(description="By how much more confident the second reading must be to be kept.")


class ModelInfo(BaseModel):
    """A loaded model: its name, where it runs, and the recognisers that it was calibrated for."""

    name: str
    version: int
    active: bool = Field(description="Whether requests for its name use it; others need `name:version`.")
    default: bool = Field(description="Whether requests that name no model use it.")
    digest: str = Field(description="SHA-256 of the model's manifest.")
    runtime: str
    device: str
    precision: str
    scale: int
    recognisers: dict[str, str] = Field(
        description="The values of `recogniser`, for which the model was calibrated, each with its rule.",
        examples=[{"rapidocr-v6": "super-resolves crops blurred by 2.7 px and more; +4.1 points on those"}],
    )
    second_opinions: dict[str, SecondOpinionLimits] = Field(
        description="By recogniser, for clients that read a crop again where the recogniser is unsure of it.",
        examples=[{"tesseract": {"below": 0.9, "margin": 0.1}}],
    )


class ModelDetails(ModelInfo):
    """A loaded model with its sizes, training and measured quality."""

    input: PixelSize = Field(description="The network's trained size; geometry=telescope stretches to it.")
    input_sizes: list[PixelSize] = Field(description="Sizes of the tiles that the network may see.")
    batch_sizes: list[int]
    training: dict[str, Any]
    metrics: list[dict[str, Any]]
    licence: str
    git_commit: str
    created_at: str


class ModelList(BaseModel):
    models: list[ModelDetails | ModelInfo]


class Health(BaseModel):
    status: Literal["ok", "ready"]
