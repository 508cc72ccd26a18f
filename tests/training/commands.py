"""Runs several commands in one process, which then imports its framework once. Of several processes all train.

python -m tests.training.commands '[["train", ...], ["predict", ...]]'
"""

import json
import os
import sys

from training.__main__ import main


def run(commands: list[list[str]]) -> None:
    """Run each command; exit with the code of the first that fails."""
    for command in commands:
        of_all = command[0] == "train" or os.environ.get("RANK", "0") == "0"
        if of_all and (code := main(command)):
            raise SystemExit(code)


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
