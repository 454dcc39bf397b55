#!/usr/bin/env bash
# Sourced by the make.sh of each folder: an empty database that records its DDL, and what was recorded as plain SQL.
# PGHOST, PGPORT and PGUSER lead to a server of PostgreSQL 14, whose role is a superuser; its programs are in PATH.
set -euo pipefail
ordinary=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PGDATABASE=ordinary_schema PYTHONDONTWRITEBYTECODE=1

begin() {
    dropdb --if-exists "$PGDATABASE" 2>/dev/null
    createdb "$PGDATABASE"
    psql -qX -v ON_ERROR_STOP=1 -f "$ordinary/record.sql"
}

finish() { # FOLDER: writes its schema.sql (the tool's own DDL) and rows.sql
    psql -qXAt -c "select rtrim(query, E'; \n') || ';' from recorded.statement order by number" >"$1/schema.sql"
    pg_dump --data-only --inserts --rows-per-insert=100 --exclude-schema=recorded |
        sed -E '/^(--|SET |SELECT pg_catalog.set_config|\\(un)?restrict |$)/d' >"$1/rows.sql"
    dropdb "$PGDATABASE"
}
