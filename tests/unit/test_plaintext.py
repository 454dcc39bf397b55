"""Cutting and watching the text of pg_dump."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.backup.plaintext import (
    COMPLETE,
    EntryCheck,
    Portable,
    entries,
    entry_comment,
    foreign_keys_last,
    post_data_last,
)

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict k\n\nSET x = 0;\n\n"
END = b"--\n" + COMPLETE + b"\n--\n\n\\unrestrict k\n\n"


def entry(kind: str, body: str) -> bytes:
    return f"--\n-- Name: t; Type: {kind}; Schema: public; Owner: o\n--\n\n{body}\n\n\n".encode()


TABLE = entry("TABLE", "CREATE TABLE public.t ();")
INDEX = entry("INDEX", "CREATE INDEX i;")
KEY = entry("FK CONSTRAINT", "ALTER TABLE public.t ADD FOREIGN KEY;")
POLICY = entry("POLICY", "CREATE POLICY p;")


def test_foreign_keys_and_what_follows_go_to_the_second_part() -> None:
    first, second = foreign_keys_last(HEAD + INDEX + KEY + POLICY + END)
    assert first == HEAD + INDEX + END
    assert second == HEAD + KEY + POLICY + END


@pytest.mark.parametrize("text", [HEAD + END, HEAD + INDEX + END])
def test_there_is_no_second_part_without_a_foreign_key(text: bytes) -> None:
    assert foreign_keys_last(text) == (text, b"")


def test_post_data_begins_with_the_first_index() -> None:
    assert post_data_last(HEAD + TABLE + INDEX + KEY + END) == (HEAD + TABLE + END, HEAD + INDEX + KEY + END)


def test_entries_are_told_with_their_kind() -> None:
    assert [each.kind for each in entries(HEAD + TABLE + KEY + END)] == ["TABLE", "FK CONSTRAINT"]


@pytest.mark.parametrize("size", [1, 7, 400, 10_000])
def test_a_witness_sees_through_the_edges_of_pieces(size: int) -> None:
    text = HEAD + entry("TABLE", "x") * 30 + END
    check = EntryCheck(entry_comment("TABLE", "public", "t"))
    for start in range(0, len(text), size):
        check.see(text[start : start + size])
    assert check.found and check.complete


def test_a_witness_notices_what_is_missing() -> None:
    check = EntryCheck(entry_comment("TABLE", "public", "other"))
    check.see(HEAD + TABLE)
    assert not check.found and not check.complete


def test_a_line_break_in_a_name_is_a_space_in_the_comment() -> None:
    assert entry_comment("TABLE", "s", "new\nline") == b"-- Name: new line; Type: TABLE; Schema: s; "


@given(st.integers(1, 400), st.booleans())
def test_a_portable_text_is_the_same_however_it_is_cut(step: int, last: bool) -> None:
    key = b"k" * 64
    head = (
        b"--\n-- PostgreSQL database dump\n--\n\n\\restrict "
        + key
        + b"\n\n-- Dumped by 17\n\nSET transaction_timeout = 0;\nSET x = 1;\n"
    )
    rows = b"\n--\n-- Name: t; Type: TABLE; Schema: s; Owner: o\n--\n\\restrict abc\nSET transaction_timeout = 0;\n"
    rows *= 3
    text = head + rows + b"--\n\n\\unrestrict " + key + b"\n" + (b"\n" if last else b"")
    portable = Portable()
    made = b"".join(portable(text[at : at + step]) for at in range(0, len(text), step)) + portable(b"", last=True)
    wanted = text.replace(b"\\restrict " + key + b"\n", b"").replace(b"\\unrestrict " + key + b"\n", b"")
    assert made == wanted.replace(b"SET transaction_timeout = 0;\n", b"", 1)
