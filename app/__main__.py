"""Makes small, blurred text crops readable: a service, and commands for files.

text-telescope serve                     start the service
text-telescope upscale crops/ -o sharp/  super-resolve files and folders
text-telescope read page.jpg             find the text of pages, and read it
text-telescope bulk words/ sharp/        super-resolve large data sets; resumes
text-telescope models                    list the models of the store
text-telescope settings                  list the settings, as a Markdown table
text-telescope new-key NAME >> keys.txt  make an API key
text-telescope version                   list the versions for a bug report
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from app.bulk import read as page_reading
from app.bulk.forms import FormName
from app.bulk.job import add_arguments, bulk
from app.errors import InvalidParameter, StartupError
from app.imaging.quality_gate import DEFAULT_MODE, QualityGate, RoutingPolicy, routing_policy
from app.settings import Settings, load_settings, settings_table
from app.telemetry.logs import configure_logging, tell_loading
from model_store.calibration import Calibration
from model_store.errors import ModelStoreError
from model_store.store import ModelStore
from model_store.tiling import Geometry

RUNTIMES = (
    "openvino",
    "onnxruntime",
    "onnxruntime-gpu",
    "paddlepaddle",
    "paddlepaddle-gpu",
    "torch",
)  # distributions


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 some images failed, 2 it could not start or go on (one sentence on stderr says why)."""
    parser = _parser()
    arguments = vars(parser.parse_args(argv))
    command = arguments.pop("command")
    try:
        if command is None:
            parser.print_help(sys.stderr)
            return 2
        code = _run(command, arguments)
        sys.stdout.flush()
        return code
    except (StartupError, ModelStoreError, InvalidParameter) as exc:
        print(f"text-telescope: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if command == "bulk":
            print("text-telescope: interrupted; the same command resumes the job.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program behind the pipe has ended, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again
        return 1


def _run(command: str, arguments: dict[str, Any]) -> int:
    if command == "new-key":
        return _new_key(**arguments)
    if command == "serve":
        return _serve(load_settings(**arguments))
    if command == "models":
        return _models(load_settings(**arguments))
    if command in ("settings", "version"):
        print(settings_table() if command == "settings" else _versions())
        return 0
    if command == "read":
        return _read(**arguments)
    geometry = arguments.pop("geometry")
    policy = routing_policy(arguments.pop("mode", None), arguments.pop("recogniser", None), geometry)
    if command == "bulk":
        return bulk(geometry, policy, **arguments)
    inputs, out = arguments.pop("inputs"), arguments.pop("out")
    if "url" in arguments:
        return _upscale_there(inputs, out, geometry, policy, **arguments)
    return _upscale(inputs, out, geometry, policy, load_settings(**arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="text-telescope", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=_versions())
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", help="one of those above; `text-telescope COMMAND --help` explains it"
    )
    serve = commands.add_parser("serve", description="Start the service.", argument_default=argparse.SUPPRESS)
    serve.add_argument("--host", help="address to listen on")
    serve.add_argument("--port", type=int, help="port to listen on")
    upscale = commands.add_parser(
        "upscale",
        description="Super-resolve files and folders of crops, in this process or by a running service.",
        argument_default=argparse.SUPPRESS,
    )
    upscale.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="image files or folders of them")
    upscale.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the PNGs")
    read = commands.add_parser(
        "read",
        description="Find the text of pages and read it, in this process (extra `ocr`) or by a running service.",
        argument_default=argparse.SUPPRESS,
    )
    page_reading.add_arguments(read)
    for command in (upscale, read):
        command.add_argument(
            "--url",
            help="use a running service, for example http://127.0.0.1:8000; its API key, if it needs one, comes "
            "from the environment variable TELESCOPE_API_KEY",
        )
    sets = commands.add_parser(
        "bulk",
        description="Super-resolve data sets, also on many machines: tar, Parquet, LMDB or folders.",
        argument_default=argparse.SUPPRESS,
    )
    add_arguments(sets)
    models = commands.add_parser(
        "models", description="List the models of the store.", argument_default=argparse.SUPPRESS
    )
    commands.add_parser("settings", description="List every setting with its default and its consequence.")
    commands.add_parser("version", description="List the versions of program, Python and installed runtimes.")
    key = commands.add_parser(
        "new-key", description="Make an API key: the key goes to stderr, its line for the file of keys to stdout."
    )
    key.add_argument("name", help="the user of the key; it appears in logs and metrics")
    key.add_argument("--admin", action="store_true", help="the key may also change the service")
    for command in (upscale, sets):
        command.add_argument("--geometry", choices=("native", "telescope"), default="native")
        command.add_argument(
            "--mode",
            choices=("auto", "always"),
            help="auto (the default): super-resolve only the crops that it helps to read; always: all crops",
        )
        command.add_argument(
            "--recogniser",
            metavar="NAME",
            help="the recogniser that reads the results: super-resolves the crops it reads better, keeps others",
        )
    for command in (serve, upscale, read, sets):
        command.add_argument("--model", help="name or name:version; to serve several, with commas between them")
        command.add_argument("--runtime", choices=("auto", "paddle", "openvino", "onnx"))
        command.add_argument("--device", help="auto, cpu or gpu:N")
    for command in (serve, upscale, read, sets, models):
        command.add_argument("--model-store", type=Path, metavar="DIR", help="folder of published models")
    serve.epilog = upscale.epilog = read.epilog = sets.epilog = (
        "Every other setting is an environment variable TELESCOPE_...; `text-telescope settings` lists them."
    )
    return parser


def _serve(settings: Settings) -> int:
    configure_logging(settings.log_level, settings.log_format)  # before the imports, which may warn
    from app.inference.threads import DaemonThreads
    from app.server.sockets import bind
    from app.serving.loading import load_models

    sockets = bind(settings)
    tell_loading(settings.model)
    loader = DaemonThreads("loader")
    loading = loader.submit(lambda: load_models(settings))  # while this thread imports FastAPI, for a second
    loader.stop()
    from app.main import create_app
    from app.server.server import serve

    serve(create_app(settings, loading.result()), sockets)
    return 0


def _upscale(inputs: list[Path], out: Path, geometry: Geometry, policy: RoutingPolicy, settings: Settings) -> int:
    from app.bulk.in_process import InProcess
    from app.bulk.upscale import find, local, upscale
    from app.serving.loading import load_model

    jobs = find(inputs, out)
    tell_loading(settings.model[:1])
    model = load_model(settings)
    try:
        enlarge = InProcess(model.predictor, model.pipeline, geometry=geometry, policy=policy)
        batch = model.predictor.streams * model.predictor.batch_sizes[-1]
        summary = upscale(jobs, local(enlarge, settings=settings), batch=batch)
    finally:
        model.predictor.close()
    print(summary.description(), file=sys.stderr)
    return 1 if summary.failed else 0


def _upscale_there(
    inputs: list[Path],
    out: Path,
    geometry: Geometry,
    policy: RoutingPolicy,
    *,
    url: str,
    model: str | None = None,
    **local: object,
) -> int:
    """By the service at `url`."""
    from app.bulk.service import connected
    from app.bulk.upscale import Upscaled, find, upscale

    def upscaler(crops: Sequence[bytes]) -> list[Upscaled | str]:
        answers = client.answers(
            crops, geometry=geometry, mode=policy.mode, recogniser=policy.recogniser, model=model
        )
        return [
            answer.problem.detail
            if isinstance(answer, Exception)
            else Upscaled(answer.data, str(answer.method), str(answer.reason))
            for answer in answers
        ]

    with connected(url, local) as client:
        summary = upscale(find(inputs, out), upscaler, batch=64)  # a few requests: the bar moves every few seconds
    print(summary.description(), file=sys.stderr)
    return 1 if summary.failed else 0


def _read(
    inputs: list[Path],
    *,
    out: Path | None = None,
    format: FormName | None = None,
    **rest: Any,  # noqa: ANN401  of this process's settings or the service
) -> int:
    from app.bulk.page_readers import ReadOptions, by_service, in_process

    options = ReadOptions(rest.pop("mode", DEFAULT_MODE), rest.pop("layout", "auto"))
    if "url" in rest:
        return page_reading.read(inputs, out, format, lambda: by_service(options=options, **rest))
    settings = load_settings(**rest)
    return page_reading.read(inputs, out, format, lambda: in_process(settings, options))


def _versions() -> str:
    installed = {name: _version(name) for name in ("text-telescope-client", *RUNTIMES)}
    return "\n".join(
        [
            f"text-telescope {_version('text-telescope') or '(not installed: run from its folder)'}",
            *(f"{name} {number}" for name, number in installed.items() if number),
            f"Python {platform.python_version()}",
            platform.platform(),
        ]
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _new_key(name: str, *, admin: bool) -> int:
    from app.http.api_keys import new_key

    key, stored = new_key(name, admin=admin)
    print(f"The key of {name}, shown this once:\n{key}", file=sys.stderr)
    print(stored.entry())
    return 0


def _models(settings: Settings) -> int:
    artefacts = ModelStore(settings.model_store).artefacts()
    if not artefacts:
        raise StartupError(f"{settings.model_store} holds no models; name another folder with --model-store.")
    for artefact in artefacts:
        manifest = artefact.manifest
        kinds = ", ".join(sorted(manifest.files))
        print(
            f"{manifest.ref:<16} {manifest.created_at}  x{manifest.pixels.scale}  {kinds}  {artefact.digest[:12]}"
        )
        for recogniser, rule in QualityGate(Calibration.of(artefact)).recognisers.items():
            print(f"    {recogniser:<12} {rule}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
