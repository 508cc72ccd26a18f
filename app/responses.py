"""What was computed -> what is sent: the picture itself, JSON with every image, or a ZIP of files."""

import base64
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO

from fastapi import Response

from app.codec import MEDIA_TYPES, Format
from app.errors import ServiceError
from app.negotiation import Representation
from app.problems import KINDS, problem
from app.schemas import DoneImage, FailedImage, ModelInfo, ModelRef, Size, SuperResolveResponse
from app.service import Done, Service, Upload
from model_store.store import Artefact


def render(
    shape: Representation,
    answers: Sequence[Done | ServiceError],
    *,
    uploads: Sequence[Upload],
    image_format: Format,
    artefact: Artefact,
    request_id: str,
) -> Response:
    """Blocking (base64 and ZIP over every picture): call it off the event loop."""
    if shape == "image":
        (done,) = answers
        assert isinstance(done, Done)
        return Response(done.data, media_type=MEDIA_TYPES[image_format], headers={"X-Method": done.method})
    manifest = artefact.manifest
    images: list[DoneImage | FailedImage] = []
    files: dict[str, bytes] = {}
    for index, (answer, upload) in enumerate(zip(answers, uploads, strict=True)):
        if isinstance(answer, ServiceError):
            told = problem(KINDS[type(answer)], detail=str(answer), request_id=request_id)
            images.append(FailedImage(index=index, filename=upload.filename, problem=told))
            continue
        name = f"{index:03d}.{image_format}"
        files[name] = answer.data
        images.append(
            DoneImage(
                index=index,
                filename=upload.filename,
                input=Size(width=answer.input_size[0], height=answer.input_size[1]),
                output=Size(width=answer.output_size[0], height=answer.output_size[1]),
                method=answer.method,
                media_type=MEDIA_TYPES[image_format],
                data=name if shape == "zip" else base64.b64encode(answer.data).decode(),
            )
        )
    body = SuperResolveResponse(
        model=ModelRef(name=manifest.name, version=manifest.version, digest=artefact.digest), images=images
    ).model_dump_json()
    if shape == "json":
        return Response(body, media_type="application/json")
    return Response(_zip({"results.json": body.encode(), **files}), media_type="application/zip")


def model_info(service: Service) -> ModelInfo:
    manifest = service.artefact.manifest
    return ModelInfo(
        name=manifest.name,
        version=manifest.version,
        digest=service.artefact.digest,
        runtime=service.predictor.runtime,
        device=service.predictor.device,
        scale=manifest.pixels.scale,
        input=Size(width=manifest.pixels.width, height=manifest.pixels.height),
        batch_sizes=list(service.predictor.batch_sizes),
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
