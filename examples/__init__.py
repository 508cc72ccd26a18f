"""Commands that make the sample crops and the pictures of the docs."""

import model_store  # noqa: F401 - keeps the runtimes from reporting to their makers
