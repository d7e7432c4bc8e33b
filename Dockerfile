# syntax=docker/dockerfile:1
# Two stages: the first builds a virtual environment, the second carries it and nothing that could build another.
# Runs without root and on a read-only root file system; only /tmp must be writable (the spool's default place).
#
# What goes in is decided by files with digests (deploy/image/*.txt, written by `make lock`), but for the base image: its
# digest changes with every security update of Debian, and only who pulls it can know it. A release names it:
#   make image ARGS="--build-arg PYTHON=python:3.13-slim-bookworm@sha256:..."
ARG PYTHON=python:3.13-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
# A `pip` of its own has no place in the final image; the base image's one installs into the environment from outside.
RUN python -m venv --without-pip /opt/gateway
COPY deploy/image deploy/image
# Traces for OpenTelemetry bring a dozen libraries more, among them a second HTTP client: `yes` for who wants them.
ARG TRACING=no
# Wheels alone: nothing is compiled, so nothing that compiles is needed.
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement deploy/image/build.txt \
    && pip --python /opt/gateway/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
        --only-binary :all: --requirement "deploy/image/$(test "$TRACING" = yes && echo tracing || echo runtime).txt"
COPY pyproject.toml README.md LICENSE ./
COPY config/sample-archive config/sample-archive
COPY gateway gateway
COPY adapters adapters
# The builder that the digests allowed, not one that is fetched now; `check` fails the build when something is missing.
RUN pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /wheel . \
    && pip --python /opt/gateway/bin/python install --no-cache-dir --disable-pip-version-check --no-deps /wheel/*.whl \
    && pip --python /opt/gateway/bin/python check

FROM ${PYTHON}
ARG PYTHON
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="FHIR document gateway" \
      org.opencontainers.image.description="Puts a legacy clinical document archive behind FHIR: answers GET [base]/Binary/[id]" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON}"
# HOME: the number below has no entry in /etc/passwd, and some libraries ask where home is.
ENV PATH=/opt/gateway/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/gateway /opt/gateway
# Where volumes may be mounted: a new one takes over whose the folder is.
RUN install -d -o 10001 -g 10001 /var/lib/fhir-gateway /var/cache/fhir-gateway
# A number, not a name: Kubernetes can only check `runAsNonRoot` against a number.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["fhir-gateway", "health", "--config", "/etc/fhir-gateway/gateway.yaml"]
ENTRYPOINT ["fhir-gateway"]
CMD ["serve", "--config", "/etc/fhir-gateway/gateway.yaml"]
