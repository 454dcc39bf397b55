#!/usr/bin/env bash
# Makes schema.sql and rows.sql with TypeORM's `synchronize` and its repositories.
source "$(dirname "$0")/../recording.sh"
cp "$ordinary"/typeorm/*.mjs "$work"
cd "$work"
npm install --silent --no-fund typeorm@1.1.1 reflect-metadata@0.2.2 pg@8.23.1
begin
psql -qXc 'create extension citext'
node entities.mjs
finish "$ordinary/typeorm"
