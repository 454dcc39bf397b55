"""The address of a session: the place that it lies in, and its name there."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from runner.units import is_url


class SessionAddress(NamedTuple):
    """The place, and the name of the session in it."""

    place: str
    session: str

    def __str__(self) -> str:
        return f"{self.place}/{self.session}"

    @classmethod
    def of(cls, text: str) -> SessionAddress:
        """Split the address of a session.

        >>> SessionAddress.of("s3://bucket/a/backup_2025-07-20T12-26-55-178Z").place
        's3://bucket/a'
        """
        if is_url(text):
            place, _, session = text.rstrip("/").rpartition("/")
            return cls(place, session)
        path = Path(text)
        return cls(str(path.parent), path.name)
