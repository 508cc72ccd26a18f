"""Every setting of the service, read once from the environment (prefix TELESCOPE_) or a command line.

TELESCOPE_PORT=9000 TELESCOPE_BATCH_SIZES=1,2,4,8 text-telescope serve
"""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import StartupError
from model_store import BUNDLED

MIB = 2**20
PREFIX = "TELESCOPE_"
REMOVED = {
    "TELESCOPE_PROCESSES": "run replicas behind a load balancer (docs/deployment.md)",
    "TELESCOPE_DEMO_OCR": "the page reads if the extra `ocr` is installed; TELESCOPE_OCR=off switches that off",
}
ORIGIN = r"^https?://[^/,*\s]+$"  # as browsers send it: no path, not even a slash at the end


class Settings(BaseSettings):
    """Frozen; a value out of range stops start-up with the setting's name and a right value."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 opens the service to the network."
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 lets the system choose one.")
    admin_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="A second port, which alone has /metrics, /docs and switching; 0: all are on PORT.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="'warning' and 'error' leave out the one line per request."
    )
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="auto: text for people if stderr is a terminal, else one JSON object a line."
    )

    model_store: Path = Field(BUNDLED, description="Folder of published models.")
    model: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode] = Field(
        ("tbsrn",),
        min_length=1,
        description="Models to serve, each a name (its newest version) or name:version; the first is the default.",
    )
    runtime: Literal["auto", "paddle", "openvino", "onnx", "torch"] = Field(
        "auto",
        description="auto: PyTorch, Paddle or ONNX Runtime if it sees a GPU, else OpenVINO or the next that can "
        "be loaded; a named one has no substitute.",
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|gpu:\d+)$")] = Field(
        "auto", description="auto, cpu or gpu:N; a named device that is missing stops start-up."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="auto: bf16 where the processor has it, fp16 with PyTorch on a GPU, else fp32; fp32: equal "
        "pixels on all machines.",
    )
    threads: int = Field(0, ge=0, description="CPU threads of the predictor; 0 leaves it to the runtime.")

    batch_sizes: Annotated[tuple[int, ...], NoDecode] = Field(
        (1, 4),
        description="The only batch sizes that reach the runtime; each is warmed at start-up. Larger ones take "
        "memory, and pay on a GPU.",
    )
    max_delay_ms: float = Field(
        0, ge=0, le=1000, description="How long an idle predictor waits for more images to share a batch."
    )
    max_queue_windows: int = Field(
        8192,
        ge=1,
        le=100_000,
        description="Admitted work over all requests, in windows of 1,024 pixels; more gets 429.",
    )
    max_queue_bytes: int = Field(
        512 * MIB, ge=MIB, description="Memory for decoded images and results over all requests; more gets 429."
    )
    request_timeout_ms: int = Field(
        60_000, ge=1, le=600_000, description="Deadline of a request; X-Request-Timeout-Ms may only shorten it."
    )
    hang_timeout_s: float = Field(
        20, gt=0, description="A batch that takes longer counts as hanging: /readyz answers 503 until it returns."
    )
    restart_after_s: float = Field(
        60, ge=0, description="Seconds beyond HANG_TIMEOUT_S after which /livez answers 503, for a restart."
    )
    drain_grace_s: float = Field(
        2, ge=0, description="After SIGTERM, /readyz answers 503 for at least this long, for load balancers."
    )
    drain_timeout_s: float = Field(
        15, ge=0, description="After SIGTERM, time for admitted requests; an orchestrator should wait 15 s more."
    )

    max_images: int = Field(64, ge=1, description="Images in one request.")
    max_request_bytes: int = Field(32 * MIB, ge=1024, description="Body of one request, counted while it arrives.")
    max_upload_bytes: int = Field(
        256 * MIB, ge=1024, description="Bytes of request bodies in memory, over all requests; more gets 429."
    )
    max_answer_bytes: int = Field(
        256 * MIB,
        ge=1024,
        description="Bytes of responses that clients have not read yet; beyond it, new requests get 429.",
    )
    answer_timeout_s: float = Field(
        60, gt=0, description="A connection is closed when its client reads nothing of its response for this long."
    )
    max_image_pixels: int = Field(
        4_000_000, ge=64, description="Width times height of one image, read from its header before decoding."
    )
    max_page_pixels: int = Field(
        16_000_000, ge=64, description="Width times height of a page that is sent with regions."
    )
    max_regions: int = Field(1000, ge=1, description="Regions of one page.")
    min_side_px: int = Field(4, ge=1, description="Least width and height of an image; smaller ones are refused.")

    api_keys_file: Path | None = Field(
        None, description="File of API keys, made by `new-key`; /v1 then requires one. SIGHUP reads it again."
    )
    api_keys: str | None = Field(
        None, description="API keys as in the file, separated by commas; the keys of both are accepted."
    )
    key_max_concurrency: int = Field(
        0, ge=0, description="Requests in flight of one API key; more get 429. 0: no limit."
    )
    key_rate_per_s: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Images a second of one API key, at least one a request; more get 429. 0: no limit.",
    )
    key_burst: int = Field(
        64, ge=1, description="Images that an API key may send at once after a pause, beyond its rate."
    )
    cors_origins: Annotated[tuple[Annotated[str, Field(pattern=ORIGIN)], ...], NoDecode] = Field(
        (), description="Origins whose web pages may use the API, such as https://example.org."
    )

    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = Field(
        None, description="OpenTelemetry collector (OTLP/HTTP) that gets all spans; needs the extra `otel`."
    )

    ocr: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Finding and reading text on pages. auto: if the extra `ocr` is installed; on: opened at "
        "start-up, which stops without it; off: pages are taken with regions alone.",
    )

    @field_validator("model", "batch_sizes", "cors_origins", mode="before")
    @classmethod
    def _values_are_listed(cls, values: object) -> object:
        return [value.strip() for value in values.split(",") if value] if isinstance(values, str) else values

    @field_validator("batch_sizes")
    @classmethod
    def _sizes_are_usable(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if not sizes or min(sizes) != 1 or len(set(sizes)) != len(sizes):
            raise ValueError("must be distinct positive numbers that include 1, for example 1,2,4,8,16")
        return tuple(sorted(sizes))

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.admin_port and self.admin_port == self.port:
            raise ValueError(
                f"admin_port ({self.admin_port}) must differ from port; 0 leaves everything on that one"
            )
        return self

    @model_validator(mode="after")
    def _one_full_request_fits(self) -> Self:
        if self.max_images > self.max_queue_windows:
            raise ValueError(
                f"max_queue_windows ({self.max_queue_windows}) must be at least max_images ({self.max_images}), "
                "or a full request could never be admitted"
            )
        if self.max_request_bytes > self.max_upload_bytes:
            raise ValueError(
                f"max_upload_bytes ({self.max_upload_bytes}) must be at least max_request_bytes "
                f"({self.max_request_bytes}), or a full request could never be read"
            )
        return self


def settings_table() -> str:
    """Every setting with its default and consequence, as Markdown."""
    rows = [
        f"| `{PREFIX}{name.upper()}` | {_default(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | consequence |", "|---|---|---|", *rows])


def _default(value: object) -> str:
    if value is None or value == ():
        return "none"
    if value == BUNDLED:
        return "the bundled store"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment and `overrides`.

    Raises StartupError naming the first bad value, or a TELESCOPE_ variable that is no setting.
    """
    known = [f"{PREFIX}{name}".upper() for name in Settings.model_fields]
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            close = get_close_matches(variable, known, n=1)
            hint = f"; is {close[0]} meant?" if close else "."
            if variable in REMOVED:
                hint = f" any more; {REMOVED[variable]}."
            raise StartupError(f"{variable} is set in the environment, but is no setting{hint}")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as exc:
        first = exc.errors()[0]
        where = f"{PREFIX}{first['loc'][0]}".upper() if first["loc"] else "The settings"
        value = f" is {first['input']!r}" if first["loc"] else ""
        raise StartupError(f"{where}{value}: {first['msg']}.") from exc
