"""The errors of `python -m training`, as one tree.

TrainingError
├── CheckpointError            a weight file cannot be used, or written
│   ├── UnreadableCheckpoint   truncated, not a checkpoint, or a pickle with forbidden contents
│   └── KeyMismatch            unknown, missing or misshapen keys, listed by name
├── DataError                  a data set, crop or label cannot be used
├── ConfigError                a setting is unknown or impossible
├── MissingExtra               an optional package is missing or broken
├── RunError                   a training run cannot start, be resumed, or go on
└── ExportError                an export cannot be made or published
    └── ParityError            an exported form does not agree with the trained network

Commands print the message as one sentence and exit with code 2.
"""

from __future__ import annotations


class TrainingError(Exception):
    """Root of the tree; the message names the mistake, its value and the remedy."""


class CheckpointError(TrainingError):
    """A weight file cannot be used, or written."""


class UnreadableCheckpoint(CheckpointError):
    """The file is truncated, not a checkpoint, or a pickle that asks for more than arrays."""


class KeyMismatch(CheckpointError):
    """Keys of a checkpoint do not fit the network; the message lists them by name."""


class DataError(TrainingError):
    """A data set, crop or label cannot be used."""


class ConfigError(TrainingError):
    """A setting is unknown or impossible."""


class MissingExtra(TrainingError):
    """An optional package is missing or broken; the message names its error and the extra that installs it."""


class RunError(TrainingError):
    """A training run cannot start, be resumed, or go on; the message names the remedy."""


class ExportError(TrainingError):
    """An export cannot be made or published."""


class ParityError(ExportError):
    """An exported form differs from the trained network by more than the tolerance."""
