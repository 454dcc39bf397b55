"""A session counts as proved only when it is: every kind of damage is found, every kind of data restores."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner import files
from runner.backup import sessions, verifying
from runner.cancel import Cancel
from runner.errors import Interrupted, TargetError, VerifyError
from tests import servers
from tests.backups import Backups, Made
from tests.servers import Server

FORMATS = ("insert", "copy", "custom", "directory", "csv")
PACKED = (False, "gzip", "zstd")

RICH = r'''
create schema "Sales ""x""";
create type "Sales ""x""".mood as enum ('so so', 'it''s');
create domain public.posint as int check (value > 0);
create type public.addr as (street text, feeling "Sales ""x""".mood);
create type public.span as range (subtype = int);
create function public.twice(int) returns int language sql immutable as 'select 2 * $1';
create function public.note() returns trigger language plpgsql as 'begin return new; end';
create sequence public.shared start 40;
create table public."Area" (
    id int generated always as identity primary key, parent int references public."Area",
    n public.posint
);
'''
TYPES = r'''
create table "Sales ""x"""."o'rder %" (
    id serial primary key, area int references public."Area", feeling "Sales ""x""".mood, more "Sales ""x""".mood[],
    home public.addr, among public.span, twice int generated always as (public.twice(id)) stored,
    number int default nextval('public.shared'), raw bytea, doc jsonb, at timestamptz, day date, long interval,
    f double precision, m numeric, net inet, empty text, nothing text, odd text, bits bit(3), "select" text
);
create trigger z before insert on "Sales ""x"""."o'rder %" for each row execute function public.note();
create index on "Sales ""x"""."o'rder %" ((doc ->> 'a'));
insert into public."Area" (parent, n) values (null, 3), (1, 4);
insert into public."Area" (parent, n) values (3, 5);
insert into "Sales ""x"""."o'rder %"
    (area, feeling, more, home, among, raw, doc, at, day, long, f, m, net, empty, nothing, odd, bits, "select")
select 1, 'it''s'::"Sales ""x""".mood, '{so so,NULL}'::"Sales ""x""".mood[], row ('a"b',
    'so so')::public.addr, '[1,5)'::public.span, '\x00ff5c27'::bytea, '{"a": [1, "\u00fc"]}'::jsonb,
       '2024-02-29 12:00:00.123456+05:30'::timestamptz, '0044-03-15 BC'::date, '1 mon -3 days 00:00:01.5'::interval,
       x.f, x.m, '10.0.0.0/8'::inet, '',
       null, E'one\n\\.\ntwo "three", \t \\N \r\n\\.\r\nGröße 表', b'101', 'x'
from (values ('NaN'::float8, 'NaN'::numeric), ('-Infinity', 'Infinity'), (1e-300, 123456789012345678901234567890.5),
      (0.1 + 0.2, 0.10)) as x (f, m);
create table public.a (id int primary key, b int);
create table public.b (id int primary key, a int references public.a);
insert into public.a values (1, 1), (2, null);
insert into public.b values (1, 1), (2, 2);
alter table public.a add foreign key (b) references public.b;
create table public.parts (id int, day date, primary key (id, day)) partition by range (day);
create table public.parts_old partition of public.parts for values from (minvalue) to ('2024-01-01');
create table "Sales ""x""".parts_new partition of public.parts for values from ('2024-01-01') to (maxvalue);
insert into public.parts select g, '2023-12-30'::date + g from generate_series(1, 5) g;
create table public.secret (id int, who text);
alter table public.secret enable row level security;
create policy mine on public.secret using (who = current_user);
insert into public.secret values (1, 'x');
create table public.lone (v text);
insert into public.lone values (''), (null), ('\.'), ('"'), (E'\\.\n'), (E'--\n-- PostgreSQL database dump\n--'),
    (E'\nSET lock_timeout = 0;\n-- Name: x; Type: TABLE; Schema: public; Owner: x\n\\unrestrict x\n'
     'ALTER TABLE x OWNER TO y;\n');
'''
NAMES: tuple[Mapping[str, str], ...] = tuple(
    {"schema": schema, "name": name}
    for schema, name in (
        ("public", "Area"), ('Sales "x"', "o'rder %"), ("public", "a"), ("public", "b"), ("public", "parts"),
        ("public", "secret"), ("public", "lone"),
    )
)  # fmt: skip


@pytest.fixture
def backups(db: str, tmp_path: Path) -> Backups:
    return Backups(db, tmp_path / "backups")


@pytest.fixture
def words(pg_server: Server) -> dict[str, str]:
    return {key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(pg_server.conninfo()).items()}


@pytest.fixture
def verify(words: dict[str, str]) -> Callable[..., verifying.Verified]:
    """Verify on the test server, in a scratch database of its own."""

    def run(session: Path, level: int = 3, **more: Any) -> verifying.Verified:
        return verifying.verify(session, level, server=words, env={"PATH": os.environ["PATH"]}, **more)

    return run


def simple(backups: Backups, **params: Any) -> Made:
    backups.sql(
        "create table t (id int primary key, v text);"
        "insert into t select g, md5(g::text) from generate_series(1, 500) g"
    )
    return backups.make(tables=["t"], **params)


# ------------------------------------------------------------------ what restores


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("form", FORMATS)
def test_every_kind_of_data_restores_from_every_format(
    form: str, packed: bool | str, backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    if packed == "zstd" and form in ("custom", "directory"):
        packed = "gzip"  # not every pg_dump can do zstd
    backups.sql(RICH + TYPES)
    made = backups.make(tables=NAMES, format=form, compress=packed)
    found = verify(made.path)
    assert {(t.schema, t.name): (t.rows, t.problem) for t in found.tables} == {
        ("public", "Area"): (3, ""),
        ('Sales "x"', "o'rder %"): (4, ""),
        ("public", "a"): (2, ""),
        ("public", "b"): (2, ""),
        ("public", "parts"): (5, ""),
        ("public", "secret"): (1, ""),
        ("public", "lone"): (7, ""),
    }
    assert found.left == ()
    assert sessions.verified_level(made.path) == 3


@pytest.mark.parametrize("form", ["insert", "copy", "custom", "directory"])
@pytest.mark.parametrize("params", [{}, {"schemas": ["public", 'Sales "x"']}], ids=["database", "schemas"])
def test_whole_databases_and_schemas_restore(
    form: str, params: dict[str, Any], backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    backups.sql(RICH + TYPES)
    found = verify(backups.make(format=form, **params).path)
    assert len(found.tables) == 7 and not any(t.problem for t in found.tables)


def test_a_private_server_needs_no_server(backups: Backups) -> None:
    backups.sql(RICH + TYPES)
    made = backups.make(tables=NAMES)
    found = verifying.verify(made.path, env={"PATH": os.environ["PATH"], "PGHOST": "/nowhere", "PGDATABASE": "x"})
    assert found.level == 3 and found.scratch and len(found.tables) == 7


def test_a_foreign_key_to_a_table_outside_is_said_to_be_left_out(
    backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    backups.sql(
        "create table tenants (id int primary key); insert into tenants values (1);"
        'create table "REFERENCES x.y(" (id int primary key, "a, REFERENCES z" int references tenants);'
        'insert into "REFERENCES x.y(" values (1, 1)'
    )
    found = verify(backups.make(tables=[{"name": "REFERENCES x.y("}]).path)
    assert found.left == ("foreign key to public.tenants: not in this session",)


def test_a_partition_by_itself_restores_without_its_parent(
    backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    backups.sql(
        "create table p (id int primary key) partition by range (id);"
        "create table p1 partition of p for values from (0) to (9);"
        "insert into p values (1)"
    )
    for form in FORMATS:
        assert verify(backups.make(tables=["p1"], format=form).path).tables[0].problem == ""


INHERITED = """
create schema far; create domain far.small as int check (value < 9);
create table far.top (id serial, size far.small default 3 check (size > 0));
create table mid (m int) inherits (far.top);
create table leaf (l int unique) inherits (mid); insert into leaf (size, m, l) values (1, 2, 3), (4, 5, 6);
insert into mid (m) values (7);
"""
ALONE = """
create table good (id int); insert into good values (1);
create table other (id int);
create table named (t regclass); insert into named values ('other'), ('pg_class');
create function is_good(int) returns bool language sql as 'select $1 > 0';
create function checked(int) returns bool language sql as 'select is_good($1)';
create table calls (n int check (checked(n))); insert into calls values (1);
"""


@pytest.mark.parametrize("form", FORMATS)
def test_a_child_is_proved_without_what_it_inherits_from(
    form: str, backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    backups.sql(INHERITED)
    made = backups.make(tables=["leaf"], format=form)
    found = verify(made.path)
    assert (found.level, found.left, [t.rows for t in found.tables]) == (3, (), [2])
    needed = (made.path / "needed.ddl").read_text()
    assert needed.index("CREATE TABLE far.top") < needed.index("CREATE TABLE public.mid")


@pytest.mark.parametrize("form", FORMATS)
def test_what_cannot_be_proved_alone_is_named_and_the_rest_is_proved(
    form: str, backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    """Nothing is said against the session, and nothing is believed of it that was not seen."""
    backups.sql(ALONE)
    made = backups.make(tables=["calls", "good", "named"], format=form, skip_empty=False)
    found = verify(made.path)
    assert [table.name for table in found.tables] == ["good"] and found.level == 2
    assert not (made.path / "DAMAGED").exists() and sessions.verified_level(made.path) == 2
    told = sorted(line.partition(": cannot be verified without other tables: ")[::2] for line in found.left)
    assert told == [
        ("public.calls", "function is_good(integer) does not exist"),
        ("public.named", 'relation "public.other" does not exist'),
    ]


def test_a_dump_that_commits_does_not_restore(backups: Backups, verify: Callable[..., verifying.Verified]) -> None:
    backups.sql("create table t (id int); insert into t values (1)")
    made = backups.make(tables=["t"])
    dump = made.path / "t.sql"
    dump.write_text(dump.read_text().replace("CREATE TABLE", "COMMIT;\nBEGIN;\nCREATE TABLE", 1))
    sums(made.path)
    with pytest.raises(VerifyError, match="does not restore: this dump ends the transaction"):
        verify(made.path)


def test_no_scratch_database_is_left(
    backups: Backups, verify: Callable[..., verifying.Verified], pg_server: Server
) -> None:
    verify(simple(backups).path)
    with pg_server.admin() as conn:
        left = conn.execute("select datname from pg_database where datname like 'planrun%'").fetchall()
    assert left == []


# ------------------------------------------------------------------ what does not


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def link(path: Path) -> None:
    real = path.with_name("elsewhere")
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / real.name)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "longer": (append, "t.sql: "),
    "one bit": (flip, "t.sql: its content has changed"),
    "shorter": (cut, "t.sql: "),
    "removed": (Path.unlink, "t.sql: is missing"),
    "a link": (link, "t.sql: is a link"),
    "a folder": (folder, "t.sql: is a folder"),
    "a pipe": (pipe, "t.sql: is a link or a device"),
}


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_found_at_every_level(how: str, level: int, backups: Backups) -> None:
    made = simple(backups)
    sessions.record_verified(made.path, 3, at=backups.reader.start_time, by="test")
    damage, message = DAMAGE[how]
    damage(made.path / "t.sql")
    with pytest.raises(VerifyError, match=message) as caught:
        verifying.verify(made.path, level)
    assert caught.value.exit_code == 6
    assert sessions.verified_level(made.path) == 0, "what was recorded before must not count any more"


def test_a_file_too_many_is_found(backups: Backups) -> None:
    made = simple(backups)
    (made.path / "more.sql").write_text("x")
    (made.path / "folder").mkdir()
    with pytest.raises(VerifyError, match=r"folder: is a folder that is not part.*more.sql: is not part"):
        verifying.verify(made.path, 1)


def test_a_verification_that_was_killed_while_it_noted_its_result_does_not_make_the_backup_a_bad_one(
    backups: Backups,
) -> None:
    made = simple(backups)
    (made.path / ".verified.json.y8epnkr5").write_text("{")
    assert verifying.verify(made.path, 2).level == 2
    (made.path / ".manifest.json.y8epnkr5").write_text("{")
    with pytest.raises(VerifyError, match=r"\.manifest\.json\.y8epnkr5: is not part"):
        verifying.verify(made.path, 2)


def test_every_problem_is_named_at_once(backups: Backups) -> None:
    backups.sql("create table x (id int); insert into x values (1); create table y (id int); insert into y values (1)")
    made = backups.make(tables=["x", "y"])
    (made.path / "x.sql").unlink()
    append(made.path / "y.sql")
    with pytest.raises(VerifyError, match=r"x.sql: is missing; y.sql: "):
        verifying.verify(made.path, 1)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["tables"][0].update(rows=1),
        lambda m: m["files"].pop("t.sql"),
        lambda m: m["files"].update({"../../etc/passwd": {"bytes": 1, "sha256": "0" * 64}}),
        lambda m: m["tables"][0].update(file="/etc/passwd"),
        lambda m: m["tables"][0].update(file="../other/t.sql"),
        lambda m: m.update(state="partial"),
        lambda m: m.update(session="backup_2020-01-01T00-00-00-000Z"),
        lambda m: m.update(tables=[]),
        lambda m: m.clear(),
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["plain", "sums made again"])
def test_an_edited_manifest_is_found(again: bool, edit: Callable[[Any], None], backups: Backups) -> None:
    made = simple(backups)
    manifest = made.manifest
    edit(manifest)
    write(made.path, manifest, again=again)
    with pytest.raises(VerifyError):
        verifying.verify(made.path, 1 if not again or not manifest.get("tables") else 3)


def write(session: Path, manifest: Any, *, again: bool) -> None:
    (session / "manifest.json").write_text(json.dumps(manifest))
    if again:
        sums(session)


def sums(session: Path) -> None:
    """Make checksums fit what is there: what somebody would do who wants to hide a change."""
    from runner import files

    manifest = json.loads((session / "manifest.json").read_text())
    for name in manifest.get("files", {}):
        if (session / name).is_file():
            size, digest = files.digest(session / name)
            manifest["files"][name] = {"bytes": size, "sha256": digest}
    (session / "manifest.json").write_text(json.dumps(manifest))
    names = [*manifest.get("files", {}), "manifest.json"]
    made = {name: files.digest(session / name)[1] for name in names if (session / name).is_file()}
    (session / "SHA256SUMS").write_text(files.sums_text(made))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO, errno.ENOENT], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["SHA256SUMS", "t.sql"])
def test_what_this_machine_refuses_to_read_is_no_damage(
    name: str, number: int, backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = simple(backups)
    real = files.open_plain

    def open_plain(path: Path) -> Any:
        if path.name == name:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(files, "open_plain", open_plain)
    damage = number in (errno.EIO, errno.ENOENT)
    with pytest.raises(VerifyError if damage else TargetError) as found:
        verifying.verify(made.path, 1)
    assert os.strerror(number) in found.value.message
    (facts,) = sessions.facts(made.path.parent)
    assert facts.state == ("damaged" if damage else "complete")


def test_a_folder_that_cannot_be_listed_is_no_damage(backups: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    made = simple(backups)

    def scandir(path: Any) -> Any:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(TargetError, match="Permission denied") as found:
        verifying.verify(made.path, 1)
    assert not isinstance(found.value, VerifyError)
    monkeypatch.undo()
    assert [one.state for one in sessions.facts(made.path.parent)] == ["complete"]


@pytest.mark.parametrize("packed", [False, "gzip"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_cut_archive_with_good_checksums_is_found_by_reading_it(
    form: str, packed: bool | str, backups: Backups
) -> None:
    made = simple(backups, format=form, compress=packed)
    dump = next(path for path in sorted(made.path.glob("t.*")) if not path.name.endswith(".schema.sql"))
    inner = (
        max(dump.glob("*.dat*"), key=lambda path: (path.name != "toc.dat", path.stat().st_size))
        if dump.is_dir()
        else dump
    )
    inner.write_bytes(inner.read_bytes()[: inner.stat().st_size * 2 // 3])
    sums(made.path)
    assert verifying.verify(made.path, 1).level == 1
    with pytest.raises(VerifyError, match=r"is cut off|cannot be read|contains|damaged"):
        verifying.verify(made.path, 2)


@pytest.mark.parametrize("form", FORMATS)
def test_changed_rows_with_good_checksums_are_found_by_restoring(
    form: str, backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    made = simple(backups, format=form)
    dump = next(path for path in sorted(made.path.glob("t.*")) if not path.name.endswith(".schema.sql"))
    target = next(path for path in dump.glob("*.dat") if path.name != "toc.dat") if dump.is_dir() else dump
    old, new = b"c4ca4238a0b923820dcc509a6f75849b", b"c4ca4238a0b923820dcc509a6f75849c"
    data = target.read_bytes()
    assert old in data
    target.write_bytes(data.replace(old, new))
    sums(made.path)
    assert verify(made.path, 2).level == 2
    with pytest.raises(VerifyError, match=r"public.t: the content of its 500 rows is not what was dumped"):
        verify(made.path)
    assert sessions.verified_level(made.path) == 0


def test_a_dump_cannot_run_programs(
    backups: Backups, verify: Callable[..., verifying.Verified], tmp_path: Path
) -> None:
    made = simple(backups)
    text = (made.path / "t.sql").read_text()
    proof = tmp_path / "proof"
    (made.path / "t.sql").write_text(text.replace("CREATE TABLE", f"\\! touch {proof}\nCREATE TABLE", 1))
    sums(made.path)
    with pytest.raises(VerifyError, match="does not restore"):
        verify(made.path)
    assert not proof.exists()


def test_a_session_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for path in (tmp_path / "x", tmp_path / "nothing"):
        with pytest.raises((VerifyError, TargetError)):
            verifying.verify(path, 1)


def test_an_extension_that_is_not_here_says_nothing_against_the_session(
    backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    made = simple(backups)
    manifest = made.manifest
    manifest["needs"].append(
        {
            "kind": "extension",
            "schema": "",
            "name": "no_such",
            "identity": "no_such",
            "ddl": "create extension no_such;",
        }
    )
    write(made.path, manifest, again=True)
    verify(made.path, 2)
    with pytest.raises(TargetError, match="cannot verify here: needs no_such"):
        verify(made.path)
    assert sessions.verified_level(made.path) == 2


def test_a_server_that_is_too_old_is_refused(backups: Backups, verify: Callable[..., verifying.Verified]) -> None:
    made = simple(backups)
    write(made.path, made.manifest | {"pg_dump": "99.1"}, again=True)
    with pytest.raises(TargetError, match=r"cannot verify here: pg_dump 99\.1 made the dumps"):
        verify(made.path)


def test_a_cancelled_verification_stops_and_notes_nothing(
    backups: Backups, verify: Callable[..., verifying.Verified]
) -> None:
    made = simple(backups)
    cancel = Cancel()

    def stop(done: int, total: int, unit: str, what: str) -> None:
        cancel.cancel(Interrupted("^C", signal=2))

    with pytest.raises(Interrupted):
        verify(made.path, cancel=cancel, progress=stop)
    assert sessions.verified_level(made.path) == 0


def test_a_session_cannot_be_pruned_while_it_is_verified(backups: Backups) -> None:
    made = simple(backups)
    tried: list[str] = []

    def prune(done: int, total: int, unit: str, what: str) -> None:
        with pytest.raises(TargetError):
            sessions.remove(made.path.parent, made.path.name)
        tried.append(what)

    verifying.verify(made.path, 1, progress=prune)
    assert tried and made.path.exists()


# ------------------------------------------------------------------ versions


@pytest.mark.parametrize("each_version", servers.majors_to_compare(), indirect=True)
def test_dumps_of_each_version_verify(each_version: Server, tmp_path: Path) -> None:
    each_version.create("v")
    backups = Backups(each_version.conninfo("v"), tmp_path)
    backups.sql(RICH + TYPES)
    for form in ("insert", "custom"):
        found = verifying.verify(backups.make(tables=NAMES, format=form).path, env={"PATH": os.environ["PATH"]})
        assert len(found.tables) == 7


HOSTILE = """
create function check_it(v int) returns bool language plpgsql as $f$
begin
    begin
        execute format('copy (select 1) to program %L', 'cat > {mark}');
        execute format('alter role %I superuser', current_user);
    exception when insufficient_privilege then
        null;
    end;
    return true;
end $f$;
create table sly (v int check (check_it(v)), w int generated always as (v + 1) stored);
create index on sly ((v + 1));
"""


@pytest.mark.parametrize("form", ["insert", "custom"])
@pytest.mark.parametrize("private", [True, False])
def test_code_of_an_archive_runs_as_nobody_special(
    backups: Backups, words: dict[str, str], tmp_path: Path, private: bool, form: str
) -> None:
    """As the superuser of the scratch server it would start programs of this machine."""
    mark = tmp_path / "mark"
    roles = "select rolname from pg_roles where rolname ~ 'planrun' or rolsuper order by 1"
    backups.sql(HOSTILE.format(mark=mark))
    with psycopg.connect(backups.dsn) as conn:
        conn.execute("insert into sly values (1)")
        before = conn.execute(roles).fetchall()
    mark.unlink(missing_ok=True)
    made = backups.make(tables=["sly"], format=form)
    found = verifying.verify(made.path, 3, server=None if private else words, env={"PATH": os.environ["PATH"]})
    assert [table.rows for table in found.tables] == [1] and not mark.exists()
    with psycopg.connect(backups.dsn) as conn:
        assert conn.execute(roles).fetchall() == before, "no role is left, and none has become a superuser"


VERIFY = (
    "import contextlib, sys; from pathlib import Path; from runner.backup import verifying\n"
    "from runner.backup.loading import Loading\n"
    "from runner.server import embedded\n"
    "real, servers = embedded.private_server, []\n"
    "@contextlib.contextmanager\n"
    "def private_server(*args, **words):\n"
    "    with real(*args, **words) as server:\n"
    "        servers.append(server)\n"
    "        yield server\n"
    "embedded.private_server = private_server\n"
    "def run(self, blocks):\n"
    "    print(servers[0].log.parent / 'data', flush=True)\n"
    "    self.ask('select pg_sleep(60)')\n"
    "Loading.run = run\n"
    "verifying.verify(Path(sys.argv[1]))"
)


def test_nothing_is_left_of_a_killed_verification(backups: Backups) -> None:
    """Killed while its private server restores: no server, no folder, and the session can be verified again."""
    made = simple(backups)
    child = subprocess.Popen(
        [sys.executable, "-c", VERIFY, str(made.path)], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    with child.stdout:
        data = Path(child.stdout.readline().strip())
        server = int((data / "postmaster.pid").read_text().splitlines()[0])
        os.kill(server, 0)
        child.kill()
        child.wait()
    end = time.monotonic() + 10
    while time.monotonic() < end and (data.exists() or Path(f"/proc/{server}").exists()):
        time.sleep(0.05)
    assert not data.exists() and not data.parent.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert sessions.verified_level(made.path) == 0
    assert verifying.verify(made.path, 2).level == 2
