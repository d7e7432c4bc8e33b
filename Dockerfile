# syntax=docker/dockerfile:1
# Two stages: the first builds a virtual environment, the second carries it and nothing that could build another.
# Runs without root and on a read-only root file system; only /tmp must be writable (the spool's default place).

FROM python:3.13-slim AS build
WORKDIR /src
# A `pip` of its own has no place in the final image; the base image's one installs into the environment from outside.
RUN python -m venv --without-pip /opt/gateway
COPY pyproject.toml README.md LICENSE ./
COPY config/sample-archive config/sample-archive
COPY gateway gateway
COPY adapters adapters
RUN pip --python /opt/gateway/bin/python install --no-cache-dir --disable-pip-version-check '.[smb]'

FROM python:3.13-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="FHIR document gateway" \
      org.opencontainers.image.description="Puts a legacy clinical document archive behind FHIR: answers GET [base]/Binary/[id]" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/gateway /opt/gateway
# A number, not a name: Kubernetes can only check `runAsNonRoot` against a number.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["fhir-gateway", "health", "--config", "/etc/fhir-gateway/gateway.yaml"]
ENTRYPOINT ["fhir-gateway"]
CMD ["serve", "--config", "/etc/fhir-gateway/gateway.yaml"]
