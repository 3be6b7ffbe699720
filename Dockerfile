# syntax=docker/dockerfile:1
# All services in one image; which one runs is the command: docker run opd allocator. docs/containers.md says how.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
ENV UV_LINK_MODE=copy UV_PYTHON=/opt/opd/bin/python PIP_CACHE_DIR=/var/cache/opd/pip UV_CACHE_DIR=/var/cache/opd/uv
COPY requirements-bootstrap.lock requirements-image.lock requirements.lock ./
# setuptools builds our own wheel and is no part of the image: its lines alone are taken from the lock.
RUN --mount=type=cache,target=/var/cache/opd \
    pip install --quiet --root-user-action ignore --require-hashes -r requirements-bootstrap.lock && \
    python -m venv --without-pip /opt/opd && \
    uv pip install --require-hashes --no-build -r requirements-image.lock && \
    sed -n '/^setuptools==/,/[^\\]$/p' requirements.lock > setuptools.lock && \
    uv pip install --require-hashes --target /build/tools -r setuptools.lock
COPY LICENSE README.md pyproject.toml ./
COPY schemas schemas
COPY allocation_core allocation_core
COPY services services
# Compiled by content and not by time: the same sources make the same files.
RUN PYTHONPATH=/build/tools uv pip install --no-build-isolation --no-deps --no-cache . && \
    /opt/opd/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/opd/lib && \
    rm /opt/opd/.lock

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="OPD token engine" \
      org.opencontainers.image.description="Hands out a hospital outpatient department's tokens" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A volume takes over the owner of the folder that it is first mounted on.
RUN echo 'opd:x:10001:10001::/nonexistent:/usr/sbin/nologin' >> /etc/passwd && \
    echo 'opd:x:10001:' >> /etc/group && \
    install -d -o opd -g opd /keys/private /keys/public /keys/vault /keys/board /passwords
COPY --from=build /opt/opd /opt/opd
ENV PATH=/opt/opd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPD_HTTP_HOST=0.0.0.0 \
    OPD_LOG_FORMAT=json
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python", "-m", "services.healthcheck"]
ENTRYPOINT ["opd"]
CMD ["--help"]
