# The service in a container: CPU only, nobody's root, nothing written, nothing fetched at start.
#   docker build -t melanoma .
#   docker run --read-only --tmpfs /tmp -v ./weights/dermoscopy_mobilenet:/weights:ro -p 127.0.0.1:8000:8000 melanoma
# With nginx in front, as a public address needs it: docker compose up (docker-compose.yaml).
# `make image` builds it with whatever is there, runs it as below and scores with it.
# Pinned: another patch release is a change that is made on purpose. Any base with python 3.11, its
# venv and useradd will do: where no registry can be reached, make image makes one of Debian's packages.
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
# torch and torchvision of one index: the plain one gives several GB of CUDA. Empty takes pip's own.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch==2.14.1 torchvision==0.29.1
# Before the sources, so that a changed line does not install everything anew. Every file by its
# sha256 (make lock writes the list).
COPY requirements.lock ./
RUN pip install --require-hashes --no-deps -r requirements.lock
COPY setup.cfg pyproject.toml ./
COPY README.md LICENSE ./
COPY melanoma melanoma
COPY api api
COPY configs configs
RUN pip install --no-deps .

FROM ${BASE}
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin melanoma
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp \
    NO_ALBUMENTATIONS_UPDATE=1 \
    MELANOMA_WEIGHTS=/weights \
    MELANOMA_DEVICE=cpu \
    PORT=8000
USER 10001
WORKDIR /tmp
EXPOSE 8000
# Ready, not merely alive: every bundle's hashes held, and it has given its score.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/readyz\", timeout=4)"]
# A shell for $PORT alone; exec, so that SIGTERM reaches the service.
CMD ["sh", "-c", "exec python -m melanoma.serve --host 0.0.0.0 --port \"$PORT\""]
