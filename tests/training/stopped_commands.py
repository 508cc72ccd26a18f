"""Runs commands one after another in one process, for a test that ends each of them by a signal.

python -m tests.training.stopped_commands '[["train", ...], ["train", ...]]'
"""

import json
import sys

from training.__main__ import main


def run(commands: list[list[str]]) -> None:
    """Run each command, and say its exit code."""
    for command in commands:
        try:
            code: object = main(command)
        except SystemExit as ended:
            code = ended.code
        print(f"ended with {code}", flush=True)


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
