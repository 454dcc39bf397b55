"""Set the sequences of a load to the current values of the source's sequences, never behind the snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from runner.backup.snapshot import Snapshot
from runner.errors import TargetError
from runner.refresh.records import SequencePosition
from runner.shadow.load_context import BATCH, LoadContext
from runner.shadow.source import Source
from runner.sqltext import literal, qualified
from runner.words import shown_name


def set_positions(load: LoadContext, source: Source, snapshot: Snapshot) -> None:
    """Set the new sequences to the positions of the source's sequences."""
    names = [name for row in source.facts for name in row["sequences"]]
    for start in range(0, len(names), BATCH):
        some = names[start : start + BATCH]
        parts = [f"select {literal(n)} as name, s.* from {_position(load.schema, n)} as s" for n in some]
        rows = snapshot.ask(" union all ".join(parts), "reading sequences")
        calls = [
            f"pg_catalog.setval({literal(qualified(load.shadow, r['name']))}, {r['last_value']}, {r['is_called']})"
            for r in rows
        ]
        load.run([f"select {', '.join(calls)}"], "sequences")


def read_shared(load: LoadContext, source: Source, snapshot: Snapshot) -> Iterator[SequencePosition]:
    """Yield the positions of sequences that no table owns: the swap advances the target's own ones, which its tables
    use.

    Raises TargetError if the target's sequence ends before the position of the source's.
    """
    for schema, name in source.shared:
        text = f"select last_value, is_called from {_position(schema, name)} as s"
        (row,) = snapshot.ask(text, "reading sequences")
        _refuse_beyond(load, schema, name, int(row["last_value"]))
        yield SequencePosition(schema=schema, name=name, **row)


def _position(schema: str, name: str) -> str:
    return f"(select last_value, is_called from {qualified(schema, name)})"


def _refuse_beyond(load: LoadContext, schema: str, name: str, last: int) -> None:
    rows = load.ask(
        "select seqmin, seqmax from pg_catalog.pg_sequence "
        f"where seqrelid = {literal(qualified(schema, name))}::pg_catalog.regclass"
    )
    for row in rows:
        if not row["seqmin"] <= last <= row["seqmax"]:
            raise TargetError(
                f"sequence {shown_name(schema, name)} is at {last} in the source, "
                f"but its range in the target is {row['seqmin']} to {row['seqmax']}",
                hint="give it the same bounds as in the source, then run again",
                code="PR0814",
            )
