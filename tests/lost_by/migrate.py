"""Apply the migrations of drizzle/ as `drizzle-kit migrate` does: those that the database does not know, together.

Source: drizzle-orm 0.44, pg-core/dialect.ts (migrate), migrator.ts (readMigrationFiles).
"""

import hashlib
import json
import os
from pathlib import Path

import psycopg

folder = Path(__file__).parent / "drizzle"
with psycopg.connect(os.environ["DATABASE_URL"]) as conn:
    conn.execute("create schema if not exists drizzle")
    conn.execute(
        "create table if not exists drizzle.__drizzle_migrations (id serial primary key, hash text not null, "
        "created_at bigint)"
    )
    row = conn.execute("select coalesce(max(created_at), 0) from drizzle.__drizzle_migrations").fetchone()
    assert row
    for entry in json.loads((folder / "meta" / "_journal.json").read_text())["entries"]:
        if entry["when"] > row[0]:
            text = (folder / f"{entry['tag']}.sql").read_text()
            for statement in text.split("--> statement-breakpoint"):
                conn.execute(statement.encode())
            conn.execute(
                "insert into drizzle.__drizzle_migrations (hash, created_at) values (%s, %s)",
                (hashlib.sha256(text.encode()).hexdigest(), entry["when"]),
            )
print("migrations applied")
