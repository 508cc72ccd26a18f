"""Train, evaluate, import and export the networks that `model_store` holds. See `python -m training --help`."""
