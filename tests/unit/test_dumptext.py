"""What reaches psql: rows as they are, whatever they look like, and only the statements that are wanted."""

from __future__ import annotations

import pytest

from runner.backup.dumptext import Cleaner, csv_inline, csv_rows, refers_to

HEAD = (
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict KEY\n\n"
    b"SET lock_timeout = 0;\nSET transaction_timeout = 0;\nSET x = 1;\n\n"
)
END = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict KEY\n\n"


def entry(kind: str, text: str, name: str = "t") -> bytes:
    data = "Data for " if kind == "TABLE DATA" else ""
    return f"--\n-- {data}Name: {name}; Type: {kind}; Schema: public; Owner: o\n--\n\n{text}\n\n\n".encode()


def clean(cleaner: Cleaner, text: bytes, size: int = 1 << 20) -> bytes:
    return b"".join(cleaner.clean(text[at : at + size] for at in range(0, len(text), size)))


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_heads_lose_what_other_servers_and_our_limits_cannot_have(size: int) -> None:
    cleaner = Cleaner()
    made = clean(cleaner, HEAD + entry("TABLE", "CREATE TABLE t ();") + END, size)
    assert b"SET x = 1;" in made and b"CREATE TABLE" in made and cleaner.ended
    assert not any(word in made for word in (b"restrict", b"lock_timeout", b"transaction_timeout"))
    assert cleaner.found == {("TABLE", "public", "t")}


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("form", ["insert", "copy"])
def test_rows_that_look_like_a_dump_stay(form: str, size: int) -> None:
    fake = (END + HEAD + entry("FK CONSTRAINT", "ALTER TABLE x OWNER TO y;", "it's \"x")).decode()
    if form == "insert":
        quoted = fake.replace("'", "''")
        rows = f"INSERT INTO public.\"o'r\" VALUES ('{quoted}', '\"');\n" * 2
    else:
        fake = "-- Name: x; Type: ACL; Schema: public; Owner: o\nit's\nSET lock_timeout = 0;\n"
        rows = f"COPY public.t (v) FROM stdin;\n{fake}\\.\n"
    text = HEAD + entry("TABLE DATA", rows) + entry("ACL", "GRANT ALL ON t TO o;") + END
    cleaner = Cleaner(owners=False)
    made = clean(cleaner, text, size)
    assert rows.encode() in made and b"GRANT" not in made
    assert cleaner.keys == [] and cleaner.ended
    assert cleaner.rows == (3 if form == "copy" else 0)


def test_owners_grants_and_foreign_keys_are_taken_out() -> None:
    key = 'ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k FOREIGN KEY ("a, b", c) REFERENCES public."we""ird"(x, y);'
    text = HEAD + entry("TABLE", "CREATE TABLE t ();\n\n\nALTER TABLE public.t OWNER TO o;")
    text += (
        entry("FK CONSTRAINT", key, "t k")
        + entry("ACL", "GRANT ALL ON t TO o;")
        + entry("RULE", "CREATE RULE r;")
        + END
    )
    cleaner = Cleaner(owners=False)
    made = clean(cleaner, text)
    assert b"OWNER TO" not in made and b"GRANT" not in made and b"FOREIGN" not in made and b"CREATE RULE" in made
    assert [refers_to(each) for each in cleaner.keys] == [("public", 'we"ird')]
    assert b"OWNER TO o;" in clean(Cleaner(), text)


def test_a_cut_dump_has_not_ended() -> None:
    cleaner = Cleaner()
    clean(cleaner, (HEAD + entry("TABLE", "CREATE TABLE t ();") + END)[:-80])
    assert not cleaner.ended


def test_a_key_that_cannot_be_read_points_nowhere() -> None:
    assert refers_to(b"ALTER TABLE x ADD CHECK (true);") == ("", "")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_csv_in_a_script(size: int) -> None:
    text = b'a,b\n1,"x\n\\.\n\\.\r\ny"\n2,"say ""\\.""\n"\n'
    blocks = [text[at : at + size] for at in range(0, len(text), size)]
    assert b"".join(csv_inline(blocks)) == text.replace(b"\n\\.", b'\n"\\."')
    assert csv_rows(blocks) == 3
    assert csv_rows([b"a\n1\n2"]) == 3 and csv_rows([]) == 0


@pytest.mark.parametrize("form", ["insert", "copy"])
def test_a_long_line_passes_in_pieces_and_is_never_gathered(form: str) -> None:
    block, long = b"x" * (1 << 16), b"x" * (32 << 20)
    head = b"INSERT INTO t VALUES ('" if form == "insert" else b"COPY public.t (v) FROM stdin;\n"
    tail = b"');\n" if form == "insert" else b"\n\\.\n"
    text = HEAD + entry("TABLE DATA", "%").replace(b"%", head + long + tail) + END
    cleaner = Cleaner()
    sizes = [len(each) for each in cleaner.clean(text[at : at + len(block)] for at in range(0, len(text), len(block)))]
    assert sum(sizes) > len(long) and max(sizes) <= (1 << 20) + len(block)
    assert cleaner.ended and cleaner.rows == (form == "copy")


@pytest.mark.parametrize("form", ["insert", "copy"])
@pytest.mark.parametrize(
    "fake", [b"\\.\n", b"-- Name: x; Type: ACL; Schema: public; Owner: o\n", b"ALTER T x OWNER TO y;\n"]
)
def test_the_rest_of_a_long_line_is_no_line(form: str, fake: bytes) -> None:
    """A piece begins with what would be a line of its own, had it a line break before it."""
    piece = b"y" * (2 << 20)
    copy = form == "copy"
    before = HEAD + b"--\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: o\n--\n\n"
    before += b"COPY public.t (v) FROM stdin;\n" if copy else b"INSERT INTO t VALUES ('"
    after = (b"z\n\\.\n" if copy else b"');\n") + b"\n\n" + END
    cleaner = Cleaner(owners=False)
    made = b"".join(cleaner.clean([before, piece, fake, after]))
    assert piece + fake in made and cleaner.ended and cleaner.rows == (2 if copy else 0)


def test_csv_with_a_long_line_is_not_gathered() -> None:
    piece = b"y" * (2 << 20)
    pieces = list(csv_inline([b'a\n"', piece, b"\\.\n", b'\\.\n"\n']))
    assert b"".join(pieces) == b'a\n"' + piece + b'\\.\n"\\."\n"\n'
