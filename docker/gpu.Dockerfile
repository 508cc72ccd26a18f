# The service on an NVIDIA GPU (PyTorch), with the recogniser that reads pages (OpenVINO, on the CPU). PyTorch's wheel
# brings its CUDA libraries: CUDA 13.0, for driver 580 or newer and GPUs of compute capability 7.5 or newer.
#
# With PyTorch's CPU build the image has been built and run, on a machine without a GPU: it needs no writable folder and
# no home. It has not run on a GPU yet.
#
#   docker build -f docker/gpu.Dockerfile -t text-telescope:0.1.0-gpu .
#   docker run --rm --read-only --gpus all -p 127.0.0.1:8000:8000 text-telescope:0.1.0-gpu

# 3.11 is the Python that the tests run on.
FROM python:3.11.15-slim-bookworm AS build
WORKDIR /build
COPY constraints.txt pyproject.toml docker/requirements.py ./
# pip is removed, so that nothing can be installed into the finished image. openvino-telemetry belongs to a model
# converter that the service does not use; it writes into the home folder.
RUN python requirements.py torch ocr > requirements.txt \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --constraint constraints.txt --requirement requirements.txt \
    && python -m pip --python /opt/venv/bin/python uninstall --yes openvino-telemetry
COPY LICENSE MANIFEST.in README.md ./
COPY app app
COPY model_store model_store
# PyTorch reads weights/; other images use the other forms of a model.
RUN rm -r model_store/*/*/onnx* model_store/*/*/paddle* \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-deps .

FROM python:3.11.15-slim-bookworm
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Text Telescope" \
      org.opencontainers.image.description="Makes small, blurred text crops readable; on an NVIDIA GPU" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.15-slim-bookworm"
# With gpu:0 a missing GPU stops the start; the service never falls back to the CPU.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TELESCOPE_HOST=0.0.0.0 \
    TELESCOPE_PORT=8000 \
    TELESCOPE_RUNTIME=torch \
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
