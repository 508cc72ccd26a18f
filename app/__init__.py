"""The service. Its packages stand in the order of a request's way, and each imports only those below it:

    server   accepts connections             batching    queue, batches, capacity
    http     endpoints, errors, limits       imaging     decode, encode, regions, quality gate
    serving  models, a crop's way            inference   the predictor and its runtimes

Beside the way: demo (the page at /), bulk (jobs without HTTP), telemetry (metrics, tracing, logs).
"""

import model_store  # noqa: F401 - keeps the runtimes from reporting to their makers
