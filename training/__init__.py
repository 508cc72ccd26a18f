"""Train, evaluate, import and export the networks of the model store: `python -m training --help`."""
