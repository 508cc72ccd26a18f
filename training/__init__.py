"""Train, evaluate, import and export the networks of the model store: `python -m training --help`."""

import model_store  # noqa: F401 - keeps the runtimes from reporting to their makers
