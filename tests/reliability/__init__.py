"""Reliability: no response is lost or mixed up when clients, predictors or pictures misbehave.

Each picture has its own colour (its tag) and the fake predictor repeats pixels, so a response shows its request.
Every scenario ends with `assert_settled`. tests/model_store/test_store.py tests a kill during publishing, and
tests/app/batching/test_batcher.py the rules of the batcher.

    python -m pytest tests/reliability
"""
