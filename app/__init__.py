"""The service: HTTP in, micro-batches through one predictor, pictures out.

request -> uploads -> service -> codec.probe -> batcher.admit -> codec.decode -> geometry
        -> batcher -> predictor -> runtime -> geometry -> codec.encode -> response
"""
