"""Functions that have an effect although their transaction is READ ONLY and rolled back.

A diff runs queries of plans that perhaps no reviewer has read yet. PostgreSQL refuses writes there, but does not count
these functions as writes: they end sessions, write files, talk to other servers, or run unparsed text. What a
user-defined function does inside cannot be known; it has the caller's rights and no more.
Sources: PostgreSQL docs 9.28 (system administration), 9.15 (XML), 35.4 (large objects), appendix F (modules).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

_WHOLE = frozenset(
    re.findall(
        r"\w+",
        """
    pg_cancel_backend pg_terminate_backend pg_reload_conf pg_rotate_logfile pg_promote pg_log_backend_memory_contexts
    pg_switch_wal pg_create_restore_point pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup
    pg_wal_replay_pause pg_wal_replay_resume pg_logical_emit_message pg_sync_replication_slots
    pg_create_physical_replication_slot pg_create_logical_replication_slot pg_drop_replication_slot
    pg_copy_physical_replication_slot pg_copy_logical_replication_slot pg_replication_slot_advance
    pg_logical_slot_get_changes pg_logical_slot_get_binary_changes
    lo_import lo_export lo_create lo_creat lo_from_bytea lo_put lo_open lo_unlink lo_truncate lowrite
    pg_read_file pg_read_binary_file ts_stat ts_rewrite
    pg_set_relation_stats pg_restore_relation_stats pg_clear_relation_stats
    pg_set_attribute_stats pg_restore_attribute_stats pg_clear_attribute_stats
    """,
    )
)
_BEGINNINGS = (
    *("dblink", "pg_file_", "pg_stat_reset", "pg_stat_statements_reset", "pg_replication_origin_", "query_to_xml"),
    *("pg_advisory_lock", "pg_try_advisory_lock", "pg_prewarm", "autoprewarm_", "xpath_table"),
    *("pg_background_launch", "pg_stat_force_next_flush", "postgres_fdw_disconnect", "cursor_to_xml"),
)
_OPEN = "ASCII_40"


class Token(Protocol):
    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def kind(self) -> str: ...


def calls(text: str, tokens: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """Yield the offset and the name of each call of such a function, anywhere in the text.

    tokens: those of the text, without comments. A name that is written with escapes counts as such a function.
    """
    for token, after in pairwise(tokens):
        written = text[token.start : token.end]
        if token.kind == "UIDENT" and (after.kind == "UESCAPE" or "\\" in written):
            yield token.start, written
        elif after.kind == _OPEN and token.kind in ("IDENT", "UIDENT") and _acts(_name(written)):
            yield token.start, _name(written)


def _acts(name: str) -> bool:
    return name in _WHOLE or name.startswith(_BEGINNINGS)


def _name(written: str) -> str:
    quoted = re.search(r'"(.*)"\Z', written, re.DOTALL)
    return quoted[1].replace('""', '"') if quoted else written.lower()
