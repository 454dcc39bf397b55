"""One action as lines for people: every member of the union, whole and cut."""

from __future__ import annotations

from typing import get_args

import pytest

from runner.model import (
    Action,
    Backup,
    Check,
    Command,
    Compare,
    Confirm,
    Copied,
    CopySession,
    Dump,
    Exchange,
    LeftOut,
    Load,
    Note,
    Proof,
    Prune,
    Query,
    Refill,
    Restore,
    ShadowTable,
    Sql,
    Together,
    Trial,
    Verify,
    Write,
)
from runner.report.actions import SHORT, lines

DUMPS = tuple(
    Dump(schema="public", name=f"t{n}", file=f"t{n}.sql", format="insert", argv=("pg_dump", f"--table=t{n}"))
    for n in range(SHORT + 3)
)
BACKUP = Backup(
    connection="", to="/b", dumps=DUMPS, compress="gzip", jobs=4,
    left_out=(LeftOut(schema="s", name="E", reason="empty"),)
)  # fmt: skip

LOAD = Load(
    source="source", connection="", schema="Shop", pg_dump="pg_dump", jobs=4, ledger=("view shop.top: rebuilt",),
    tables=(ShadowTable(name="Area", rows=7, bytes=8192), ShadowTable(name="new", live=False),
            ShadowTable(name="users", empty=True)),
)  # fmt: skip
COPIED = tuple(Copied(schema="public", name=name, first="", out="copy", into="copy") for name in ("a", "B"))
PROOFS = (
    Proof(schema="public", name="a", query="q", rows=1, checksum="2"),
    Proof(schema="public", name="b", query="q", rows=1),
    Proof(schema="public", name="c", query="q", other="q"),
)
EXCHANGE = Exchange(
    connection="", what="swap 1 table of public", before="create schema s",
    locks="lock table a in access exclusive mode", catch_up=("do $x$ begin end $x$",), text="alter table a rename to b",
    lock_timeout=2.5, deadline=5400,
)  # fmt: skip

EXAMPLES: dict[type, tuple[Action, list[str]]] = {
    Sql: (Sql(text="drop table a\n", transaction=False), ["drop table a", "# outside a transaction"]),
    Query: (Query(text="select 1"), ["select 1"]),
    Check: (Check(text="-- Who is in the way.\nselect 1"), ["# check: Who is in the way."]),
    Confirm: (Confirm(message="Go on?", expect="yes"), ["? Go on? (type 'yes')"]),
    Command: (Command(argv=("echo", "a b"), cwd="/x"), ["$ echo 'a b'    (in /x)"]),
    Trial: (
        Trial(argv=("npx", "a b"), connection="", query="select 1", cwd="/x", rows=1000, size=4096, see="planrun x"),
        [
            "$ npx 'a b'    (in /x)",
            "# in a scratch copy with a sample of 1,000 rows of each table (4,096 bytes here), never in the database",
            "# what it loses is unknown until run, as a diff runs no program of a plan; planrun x shows it",
        ],
    ),
    Write: (Write(path="/x/y", text="é"), ["+ /x/y (2 bytes)"]),
    Backup: (BACKUP, ["+ /b/backup_<time>/", "gzip", "t0.sql <- public.t0", '# left out s."E": empty']),
    Restore: (
        Restore(session="/b/s", tables=("a", "b"), schema="Beside", replace=True),
        ["+ restore a, b of /b/s", '"Beside"', "- drop", "without CASCADE", "one transaction"],
    ),
    Verify: (Verify(session="/b/s", level=3), ["# prove /b/s", "restore into a scratch"]),
    CopySession: (
        CopySession(session="/b/s1", to="s3://bucket/x"),
        ["+ copy /b/s1 to s3://bucket/x, and read it back there"],
    ),
    Prune: (Prune(folder="/b", sessions=("s1", "s2")), ["- /b/s1", "- /b/s2"]),
    Load: (
        LOAD,
        [
            '+ shadow tables of schema "Shop": 3 tables, about 8,192 bytes, 4 at a time',
            '"Area": about 7 rows',
            "new: about 0",
            "(new in the target)",
            "users: structure only",
            "# view shop.top: rebuilt",
        ],
    ),
    Refill: (Refill(connection="", tables=COPIED), ['+ copy the rows of public.a, public."B" from the live tables']),
    Compare: (
        Compare(connection="", proofs=PROOFS),
        [
            "# prove public.a: rows and content are those of the source snapshot",
            "public.b: rows are those of the source",
            "public.c: rows and content are those of the live table",
        ],
    ),
    Exchange: (
        EXCHANGE,
        [
            "# swap 1 table of public",
            "waits 2.5 s, tries again for 1 h 30 min, ends no other connection",
            "create schema s",
            "lock table a",
            "do $x$ begin end $x$",
            "alter table a rename to b",
        ],
    ),
    Note: (Note(text="one\ntwo"), ["# one", "# two"]),
    Together: (Together(branches=((Query(text="q1"),), (Query(text="q2"),)), jobs=2), ["2 branches, 2 at", "q1", "q2"]),
}


def test_there_is_an_example_of_each() -> None:
    assert set(EXAMPLES) == set(get_args(Action))


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_what_it_does_is_said(kind: type) -> None:
    action, wanted = EXAMPLES[kind]
    for verbose in (False, True):
        shown = "\n".join(lines(action, verbose=verbose))
        assert all(word.removeprefix("# check: ") in shown for word in wanted), shown


def test_what_is_long_is_cut_only_without_verbose_and_says_so() -> None:
    long = Sql(text="\n".join(f"select {n};" for n in range(40)))
    assert len(lines(long)) == SHORT and "29 lines more" in lines(long)[-1] and "--verbose" in lines(long)[-1]
    assert lines(long, verbose=True) == long.text.splitlines()
    exact = Sql(text="\n".join(map(str, range(SHORT))))
    assert lines(exact) == exact.text.splitlines()
    assert any("3 tables more" in line for line in lines(BACKUP))
    whole = lines(BACKUP, verbose=True)
    assert sum("pg_dump --table" in line for line in whole) == len(DUMPS) and not any(
        "more (" in line for line in whole
    )
    many = Together(branches=tuple((Query(text=f"q{n}"),) for n in range(SHORT + 2)))
    assert "2 more" in lines(many)[-1] and len(lines(many, verbose=True)) == SHORT + 3


def test_the_body_of_a_block_is_folded_so_that_the_rest_is_seen() -> None:
    block = "do $planrun$\nbegin\n" + "    perform 1;\n" * 20 + "end\n$planrun$"
    text = f"{block};\ncreate function f() returns trigger as $planrun1$\n{block}\n$planrun1$;\ncreate trigger t"
    for action in (
        Sql(text=text),
        Exchange(connection="", what="w", text=text),
        Exchange(connection="", what="w", text="", catch_up=(text,)),
    ):
        shown = [line for line in lines(action) if line != "# w"]
        assert shown == [
            "do $planrun$ ... $planrun$; (24 lines, --verbose shows all)",
            "create function f() returns trigger as $planrun1$ ... $planrun1$; (26 lines, --verbose shows all)",
            "create trigger t",
        ]
        assert text in "\n".join(lines(action, verbose=True))
    short = Sql(text="do $$\nbegin\nend\n$$")
    assert lines(short) == short.text.splitlines()


def test_an_exchange_says_how_long_it_waits() -> None:
    usual = lines(Exchange(connection="", what="w", locks="lock", text="x"))[1]
    assert "waits half a second, tries again for 10 min, ends" in usual
    assert (
        "waits 3 s, does not try again"
        in lines(Exchange(connection="", what="w", locks="lock", text="x", lock_timeout=3, deadline=0))[1]
    )
    long = Exchange(connection="", what="w", text="\n".join(f"alter table t{n}" for n in range(90)))
    assert len(lines(long)) == 1 + 3 * SHORT and "55 lines more" in lines(long)[-1]


def test_a_dump_of_more_than_a_table() -> None:
    whole = Dump(schema="", name="", file="all.dump", format="custom", argv=("pg_dump",))
    assert "the whole database" in lines(Backup(connection="", to="/b", dumps=(whole,)))[1]


def test_a_check_without_a_comment_shows_its_query() -> None:
    assert lines(Check(text="select 1")) == ["# check, must return no row:", "select 1"]
    assert lines(Check(text="")) and lines(Sql(text="")) == []
