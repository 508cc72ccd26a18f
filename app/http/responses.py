"""What was computed -> what is sent: the picture itself, JSON with every image, or a ZIP of files."""

import base64
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO

from fastapi import Response

from app.errors import ServiceError
from app.http.accept import Shape
from app.http.problems import KINDS, problem
from app.http.schemas import DoneImage, FailedImage, ModelInfo, ModelRef, Page, Size, SuperResolveResponse
from app.imaging.codec import MEDIA_TYPES, Format
from app.serving.crops import CropResult, Picture
from app.serving.model_service import ServedModel
from app.serving.registry import ModelRegistry
from model_store.store import Artefact


@dataclass(frozen=True)
class Rendering:
    """What a response is made with, beside the answers."""

    shape: Shape
    image_format: Format
    artefact: Artefact
    request_id: str


def render(
    rendering: Rendering,
    answers: Sequence[CropResult | ServiceError],
    *,
    names: Sequence[str | None],
    page: Picture | None = None,
) -> Response:
    """The response; with `page`, that is the one picture. Blocking: call it off the event loop."""
    media_type = MEDIA_TYPES[rendering.image_format]
    if rendering.shape == "image":
        if page:
            return Response(page.data, media_type=media_type)
        (answer,) = answers
        assert isinstance(answer, CropResult)
        headers = {"X-Method": answer.decision.method, "X-Reason": answer.decision.reason}
        return Response(answer.data, media_type=media_type, headers=headers)
    files: dict[str, bytes] = {}

    def put(name: str, picture: Picture) -> str | None:
        if not picture.data:  # it is in its place on the page
            return None
        if rendering.shape == "json":
            return base64.b64encode(picture.data).decode()
        files[f"{name}.{rendering.image_format}"] = picture.data
        return f"{name}.{rendering.image_format}"

    images: list[DoneImage | FailedImage] = []
    for index, (answer, filename) in enumerate(zip(answers, names, strict=True)):
        if isinstance(answer, ServiceError):
            told = problem(KINDS[type(answer)], detail=str(answer), request_id=rendering.request_id)
            images.append(FailedImage(index=index, filename=filename, problem=told))
        else:
            images.append(
                DoneImage(
                    index=index,
                    filename=filename,
                    input=_size(answer.input_size),
                    output=_size(answer.output_size),
                    method=answer.decision.method,
                    reason=answer.decision.reason,
                    blur_px=_rounded(answer.decision.blur),
                    working_scale=_rounded(answer.decision.scale) if answer.decision.infers else None,
                    strength=answer.decision.strength if answer.decision.infers else None,
                    media_type=media_type,
                    data=put(f"{index:03d}", answer),
                )
            )
    manifest = rendering.artefact.manifest
    body = SuperResolveResponse(
        model=ModelRef(name=manifest.name, version=manifest.version, digest=rendering.artefact.digest),
        images=images,
        page=Page(output=_size(page.output_size), media_type=media_type, data=put("page", page)) if page else None,
    ).model_dump_json()
    if rendering.shape == "json":
        return Response(body, media_type="application/json")
    return Response(_zip({"results.json": body.encode(), **files}), media_type="application/zip")


def _size(width_height: tuple[int, int]) -> Size:
    return Size(width=width_height[0], height=width_height[1])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def model_info(service: ServedModel, models: ModelRegistry) -> ModelInfo:
    manifest = service.artefact.manifest
    return ModelInfo(
        active=models.is_active(service),
        default=models.default is service,
        name=manifest.name,
        version=manifest.version,
        digest=service.artefact.digest,
        runtime=service.predictor.runtime,
        device=service.predictor.device,
        precision=service.predictor.precision,
        scale=manifest.pixels.scale,
        input=Size(width=manifest.pixels.width, height=manifest.pixels.height),
        input_sizes=[Size(width=width, height=height) for height, width in manifest.input_sizes],
        batch_sizes=list(service.predictor.batch_sizes),
        recognisers=service.gate.recognisers,
        training=dict(manifest.training),
        metrics=[asdict(metric) for metric in manifest.metrics],
        licence=manifest.licence,
        git_commit=manifest.git_commit,
        created_at=manifest.created_at,
    )


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # pictures are compressed already
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
