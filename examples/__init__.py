"""Commands that make the sample crops and the pictures of the docs."""

import model_store  # noqa: F401 - its import switches off the telemetry of the runtimes
