"""Shared parts of the benchmarks; the tests start services by `process`, too."""
