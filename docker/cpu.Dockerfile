# The service on CPU (OpenVINO), with the recogniser that reads pages.
#
#   docker build -f docker/cpu.Dockerfile -t text-telescope:0.1.0-cpu .
#   docker run --rm --read-only -p 127.0.0.1:8000:8000 text-telescope:0.1.0-cpu

# 3.11 is the Python that the tests run on.
FROM python:3.11.15-slim-bookworm AS build
WORKDIR /build
COPY constraints.txt pyproject.toml docker/requirements.py ./
# pip is removed, so that nothing can be installed into the finished image. openvino-telemetry belongs to a model
# converter that the service does not use; it writes into the home folder.
RUN python requirements.py cpu ocr > requirements.txt \
    && python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir \
        --constraint constraints.txt --requirement requirements.txt \
    && python -m pip --python /opt/venv/bin/python uninstall --yes openvino-telemetry
COPY LICENSE MANIFEST.in README.md ./
COPY app app
COPY model_store model_store
# OpenVINO reads onnx/ and onnx-any-size/; other images use the other forms of a model.
RUN rm -r model_store/*/*/paddle* model_store/*/*/weights \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-deps .

FROM python:3.11.15-slim-bookworm
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Text Telescope" \
      org.opencontainers.image.description="Makes small, blurred text crops readable; on CPU" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.15-slim-bookworm"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TELESCOPE_HOST=0.0.0.0 \
    TELESCOPE_PORT=8000 \
    TELESCOPE_RUNTIME=openvino
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY LICENSE .
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"TELESCOPE_PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["text-telescope"]
CMD ["serve"]
