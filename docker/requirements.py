"""Prints the dependencies of pyproject.toml, one a line, for an image that installs them in a layer of their own.

python docker/requirements.py cpu client      the service's, and those extras'
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print(*project["dependencies"], sep="\n")
for extra in sys.argv[1:]:
    print(*project["optional-dependencies"][extra], sep="\n")
