# The service on an NVIDIA GPU (Paddle Inference); docker/gpu.Dockerfile (PyTorch) needs less and also reads pages.
# Written for PaddlePaddle 3.3.1, CUDA 12.9 and cuDNN 9.9. It has been built on a machine without a GPU, and has not run
# on a GPU yet.
#
#   docker build -f docker/paddle.Dockerfile -t text-telescope:0.1.0-paddle --build-arg PADDLE_INDEX=... .
#   docker run --rm --read-only --tmpfs /tmp --gpus all -p 127.0.0.1:8000:8000 text-telescope:0.1.0-paddle

FROM docker.io/paddlepaddle/paddle:3.3.1-gpu-cuda12.9-cudnn9.9 AS base
# Paddle's image has Python 3.10, the service needs 3.11. Paddle links to OpenMP (libgomp1).
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libgomp1 python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
# Paddle's own package index for CUDA 12.9, as its installation page gives it: PyPI has no current GPU build.
ARG PADDLE_INDEX
ARG PADDLE=paddlepaddle-gpu==3.3.1
WORKDIR /build
COPY constraints.txt pyproject.toml docker/requirements.py ./
RUN python3.11 requirements.py > requirements.txt \
    && python3.11 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --extra-index-url "${PADDLE_INDEX:?has to be given}" \
        --constraint constraints.txt --requirement requirements.txt "${PADDLE}"
COPY LICENSE MANIFEST.in README.md ./
COPY app app
COPY model_store model_store
# Paddle Inference reads paddle/ and paddle-any-size/; other images use the other forms of a model.
RUN rm -r model_store/*/*/onnx* model_store/*/*/weights \
    && /opt/venv/bin/pip install --no-cache-dir --no-deps . \
    && /opt/venv/bin/pip uninstall --yes pip

FROM base
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Text Telescope" \
      org.opencontainers.image.description="Makes small, blurred text crops readable; on an NVIDIA GPU (Paddle)" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/paddlepaddle/paddle:3.3.1-gpu-cuda12.9-cudnn9.9"
# With gpu:0 a missing GPU stops the start; the service never falls back to the CPU. Paddle writes into the home folder,
# and the base image's belongs to root.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    TELESCOPE_HOST=0.0.0.0 \
    TELESCOPE_PORT=8000 \
    TELESCOPE_RUNTIME=paddle \
    TELESCOPE_DEVICE=gpu:0
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY LICENSE .
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"TELESCOPE_PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["text-telescope"]
CMD ["serve"]
