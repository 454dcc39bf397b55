"""What a server's log tells of a program: its statements, and how long it held which locks."""

from __future__ import annotations

from runner.scratch.program_watch import ProgramLock, ProgramStatement, read

LOG = """\
100.000|7|d|psql|LOG:  duration: 1.000 ms  statement: begin
100.100|7|d|psql|LOG:  planrun_locks [[20000, "AccessExclusiveLock"]]
100.100|7|d|psql|LOG:  duration: 50.000 ms  statement: alter table t
\tadd x int
100.150|7|d|psql|LOG:  duration: 10.000 ms  execute <unnamed>: update t set x = $1
100.160|7|d|psql|LOG:  duration: 0.100 ms  statement: rollback to savepoint a
100.200|7|d|psql|LOG:  duration: 2.000 ms  statement: COMMIT
100.210|8|d|planrun|LOG:  duration: 2.000 ms  statement: select 1
100.220|9|other|psql|LOG:  duration: 2.000 ms  statement: drop table x
100.300|7|d|psql|LOG:  planrun_locks [[20001, "ShareLock"]]
100.301|7|d|psql|LOG:  duration: 4.000 ms  statement: create index on t (x)
100.400|7|d|psql|ERROR:  relation "u" does not exist
100.500|7|d|psql|LOG:  planrun_locks [[20002, "AccessExclusiveLock"]]
100.500|7|d|psql|LOG:  duration: 9.000 ms  statement: begin; drop table v; commit
100.6
"""


def test_statements_and_locks_of_each_transaction() -> None:
    seen = read(LOG, "d")
    assert [one.text for one in seen.statements] == [
        "begin", "alter table t\nadd x int", "update t set x = $1", "rollback to savepoint a", "COMMIT",
        "create index on t (x)", "begin; drop table v; commit",
    ]  # fmt: skip
    assert seen.statements[2] == ProgramStatement(text="update t set x = $1", milliseconds=10.0)
    assert [(one.oid, one.mode, one.statement[:11], round(one.milliseconds)) for one in seen.locks] == [
        (20000, "AccessExclusiveLock", "alter table", 150),
        (20001, "ShareLock", "create inde", 4),
        (20002, "AccessExclusiveLock", "begin; drop", 9),
    ]
    assert isinstance(seen.locks[0], ProgramLock)
    assert read("", "d").statements == ()
