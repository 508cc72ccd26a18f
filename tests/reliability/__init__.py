"""Nothing lost, nothing mixed up, whatever clients, predictors and pictures do.

Every picture is tagged (a colour of its own) and the fake predictor repeats pixels, so an answer shows which
question it belongs to; every scenario ends with `assert_settled`. Publishing while it is killed is tested in
tests/model_store/test_store.py, the batcher's rules in tests/app/batching/test_batcher.py.

    python -m pytest -m reliability      what runs with every change
    python -m bench reliability          the same scenarios, longer, as one table
"""
