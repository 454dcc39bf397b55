#!/usr/bin/env bash
# Makes schema.sql with pgbench; its rows are made anew by the test, as pgbench makes them.
source "$(dirname "$0")/../recording.sh"
begin
pgbench --quiet --initialize --init-steps=tpf --partitions=3 --scale=1
finish "$ordinary/pgbench"
rm "$ordinary/pgbench/rows.sql"
