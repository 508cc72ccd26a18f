"""The service. Its packages, in the order in which a request passes through them:

    server      accepts connections, drains
    http        endpoints, errors, authentication
    serving     the loaded models, a crop's way
    batching    queue, batches, capacity
    imaging     decode, encode, regions, quality gate
    inference   the predictor and its runtimes

Each imports only packages further down. Beside the way stand demo (the page at /), bulk (jobs without HTTP) and
telemetry (metrics, tracing, logs).
"""

import model_store  # noqa: F401 - turns off the runtimes' usage reports
