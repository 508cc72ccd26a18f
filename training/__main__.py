"""Command line of training.

    python -m training train -c training/configs/tiny.yml
    python -m training export --weights checkpoint.safetensors --out exported

Only the chosen command is imported, so that `--help` needs no framework.
"""

from __future__ import annotations

import argparse
import atexit
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from model_store.mkl import wake_mkl_on_amd
from training.errors import TrainingError
from training.optional import needs
from training.stop import INTERRUPTED

# command -> (module with add_arguments(parser) and run(args), one line of help)
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("training.train", "train TBSRN from a configuration"),
    "evaluate": ("training.evaluate", "PSNR, SSIM and recognition accuracy of a checkpoint"),
    "predict": ("training.predict", "super-resolve images with a checkpoint"),
    "ablate": ("training.ablate", "measure each part of a recipe on equal budgets"),
    "average": ("training.average", "average checkpoints of one run and its continuations"),
    "calibrate": ("training.calibration.command", "find the crops that a model helps to read, for `mode=auto`"),
    "fit-blur": ("training.calibration.blur", "fit the estimate of a crop's blur to rendered text"),
    "export": ("training.export", "fold, export to Paddle and ONNX, check parity, publish; or write for Triton"),
    "import-weights": ("training.convert", "turn a published checkpoint into ours"),
    "make-data": ("training.data.make", "write LR/HR pairs as a TextZoom-like LMDB"),
    "pretrain-recogniser": ("training.pretrain", "train the recogniser of the text-focused loss"),
}
USAGE_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0 on success, 2 with one sentence on stderr for a TrainingError."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    wake_mkl_on_amd()  # before any command imports Paddle
    warnings.filterwarnings("ignore", "No ccache found", UserWarning)  # a warning of Paddle's import
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    try:
        with needs("this command"):
            args = _parser(chosen).parse_args(arguments)
            args.run(args)
    except TrainingError as error:
        print(f"{chosen}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train, evaluate and export Text Telescope networks."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (module_path, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(module_path)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _leave(code: int) -> NoReturn:
    """End a process of torchrun without the interpreter's teardown, during which libraries may abort."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        sys.exit(main())
    try:
        _leave(main())
    except SystemExit as stop:  # stopped by a signal
        _leave(stop.code if isinstance(stop.code, int) else INTERRUPTED)
