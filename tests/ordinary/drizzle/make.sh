#!/usr/bin/env bash
# Makes schema.sql and rows.sql with a migration that drizzle-kit generates and applies.
source "$(dirname "$0")/../recording.sh"
cp "$ordinary"/drizzle/*.ts "$ordinary"/drizzle/*.mjs "$work"
cd "$work"
npm install --silent --no-fund drizzle-kit@0.31.11 drizzle-orm@0.45.4 pg@8.23.1
begin
npx drizzle-kit generate --name first >/dev/null
npx drizzle-kit migrate >/dev/null
node rows.mjs
finish "$ordinary/drizzle"
