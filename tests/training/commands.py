"""Runs several commands in one process, which then imports its framework once.

python -m tests.training.commands '[["train", ...], ["predict", ...]]'
"""

import json
import sys

from training.__main__ import main


def run(commands: list[list[str]]) -> None:
    """Run each command; exit with the code of the first that fails."""
    for command in commands:
        if code := main(command):
            raise SystemExit(code)


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
