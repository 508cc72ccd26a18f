"""The service: HTTP in, micro-batches through one predictor, pictures out.

request -> uploads -> service -> codec.probe -> batcher.admit -> Probed.decode -> geometry
        -> batcher -> predictor -> runtime -> geometry -> codec.encode -> response
"""

import model_store  # noqa: F401 - keeps the runtimes from reporting to their makers
