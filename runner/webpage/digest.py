"""A digest over the records of a run, by which a reader checks that a report fits the journal."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from runner.journal.records import Record


def digests(records: Iterable[Record]) -> Iterator[str]:
    """Yield, after each record, the SHA-256 of the records so far, each as one line of JSON with sorted keys.

    A journal in the database and one in a file give the same: jsonb keeps no order of keys, but all values.
    """
    sums = hashlib.sha256()
    for record in records:
        line = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
        sums.update(line.encode() + b"\n")
        yield sums.hexdigest()


def digest(records: Sequence[Record]) -> str:
    """Return the digest over all records, "" if there are none."""
    return deque(digests(records), maxlen=1).pop() if records else ""
