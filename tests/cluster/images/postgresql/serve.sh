#!/bin/sh
# Make the database once, in a folder that takes its name when it is complete, then serve it.
#   PGDATA, POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE
set -eu
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    secret=${POSTGRES_PASSWORD_FILE:-}
    if [ -z "$secret" ]; then
        secret=$(mktemp)
        printf '%s\n' "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE}" > "$secret"
    fi
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username="$user" --pwfile="$secret" --encoding=UTF8 \
        --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256
    [ -n "${POSTGRES_PASSWORD_FILE:-}" ] || rm -f "$secret"
    printf 'host all all all scram-sha-256\n' >> "$PGDATA.new/pg_hba.conf"
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE "%s"\n' "$database" | postgres --single -D "$PGDATA.new" postgres
    fi
    mv "$PGDATA.new" "$PGDATA"
fi
unset POSTGRES_PASSWORD
exec postgres -D "$PGDATA" -c listen_addresses='*' "$@"
