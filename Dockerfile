# planrun with pg_dump, pg_restore and psql of PostgreSQL 14 to 18. See docs/how-to/docker.md.
#
#   docker build -t planrun .
#   docker run --rm --init -v "$PWD/plans:/plans:ro" -v backups:/backups -e DATABASE_URL planrun apply /plans/backup.yml --yes
ARG DEBIAN=trixie-slim

# ---------------------------------------------------------------- the programs of PostgreSQL, from its own packages (PGDG)
FROM debian:${DEBIAN} AS postgresql
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install -y --no-install-recommends \
        postgresql-client-14 postgresql-client-15 postgresql-client-16 postgresql-client-17 postgresql-client-18 \
    && for major in 14 15 16 17 18; do \
        install -D -t /programs/usr/lib/postgresql/$major/bin \
            /usr/lib/postgresql/$major/bin/pg_dump \
            /usr/lib/postgresql/$major/bin/pg_restore \
            /usr/lib/postgresql/$major/bin/psql; \
    done \
    && cp -a --parents -t /programs /usr/lib/*-linux-gnu/libpq.so.5* \
    && rm -rf /var/lib/apt/lists/*

# ---------------------------------------------------------------- planrun in an environment without pip
FROM debian:${DEBIAN} AS planrun
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runner runner
COPY schemas schemas
COPY sql sql
COPY plans plans
COPY docs docs
COPY man man
# hadolint ignore=DL3013
RUN python3 -m venv /opt/planrun \
    && /opt/planrun/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt ".[metrics]" \
    && /opt/planrun/bin/pip uninstall -y --disable-pip-version-check pip \
    && find /opt/planrun -name __pycache__ -prune -exec rm -rf {} + \
    && find /opt/planrun -type f -name "*.so*" -exec strip --strip-unneeded {} +

# ---------------------------------------------------------------- what runs
FROM debian:${DEBIAN}
ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="planrun" \
      org.opencontainers.image.description="Run PostgreSQL operations that are written down as YAML, reviewed in a pull request and proved before they run." \
      org.opencontainers.image.licenses="PostgreSQL" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
# the libraries that libpq and psql are linked with
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        ca-certificates libedit2 libgssapi-krb5-2 libldap2 liblz4-1 libssl3t64 libzstd1 python3 tzdata zlib1g \
    && rm -rf /var/lib/apt/lists/* /usr/share/doc /usr/share/man /usr/share/locale \
    && useradd --uid 10001 --user-group --create-home planrun \
    && install -d -o planrun -g planrun -m 0700 /var/lib/planrun /backups
COPY --from=postgresql /programs /
COPY --from=planrun /opt/planrun /opt/planrun
ENV PATH=/opt/planrun/bin:$PATH \
    PLANRUN_STATE_DIR=/var/lib/planrun \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /plans
HEALTHCHECK --interval=5m --timeout=10s CMD ["planrun", "--version"]
ENTRYPOINT ["planrun"]
CMD ["--help"]
