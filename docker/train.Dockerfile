# Training, evaluation and export. On NVIDIA GPUs: --build-arg EXTRAS="train torch", whose PyTorch brings its CUDA.
#
#   docker build -f docker/train.Dockerfile -t text-telescope:0.1.0-train .
#   docker run --rm -v "$PWD/data:/data:ro" -v "$PWD/runs:/srv/runs" -u "$(id -u)" text-telescope:0.1.0-train train ...

FROM python:3.11.15-slim-bookworm
ARG EXTRAS=train
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Text Telescope, training" \
      org.opencontainers.image.description="Trains, evaluates and exports TBSRN" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.15-slim-bookworm"
# OpenMP, which Paddle links to.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /srv
COPY constraints.txt pyproject.toml docker/requirements.py LICENSE ./
# hadolint ignore=SC2086
RUN python requirements.py ${EXTRAS} > requirements.txt \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --constraint constraints.txt --requirement requirements.txt
ENV PATH=/opt/venv/bin:$PATH
COPY model_store model_store
COPY training training
USER 10001:10001
ENTRYPOINT ["python", "-m", "training"]
CMD ["--help"]
