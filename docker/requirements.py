"""What pyproject.toml asks for, one requirement a line, so that an image's dependencies are a layer of their own.

python docker/requirements.py cpu client      of the service and these extras
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print(*project["dependencies"], sep="\n")
for extra in sys.argv[1:]:
    print(*project["optional-dependencies"][extra], sep="\n")
