"""Sessions in other places: copied to a real S3 server and back, whole or not at all, whatever the store does."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.backup import sessions
from runner.backup.manifest import from_json
from runner.cancel import Cancel
from runner.cli import main
from runner.errors import Interrupted, TargetError, VerifyError
from runner.storage import transfer
from runner.storage.address import SessionAddress
from runner.storage.store import open_store
from tests import stores
from tests.backups import Backups
from tests.faultproxy import FaultProxy
from tests.stores import S3, SECRET

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with stores.serve(tmp_path_factory.mktemp("s3") / "data") as server:
        yield server


@pytest.fixture
def place(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place of the test's own; the environment leads to its store."""
    for name, value in s3.env().items():
        monkeypatch.setenv(name, value)
    return f"s3://sessions/shop {uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def made(pg_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two tables, one of which takes several parts of an upload; one archive is a folder."""
    folder = tmp_path_factory.mktemp("made") / "backups"
    backups = Backups(pg_server.create("copied"), folder)
    backups.sql('create table "T 1" (id int primary key, t text); create table b (i int)')
    backups.sql('insert into "T 1" select g, repeat(md5(g::text), 40) from generate_series(1, 15000) g')
    backups.sql("insert into b values (7)")
    return backups.make(tables=["T 1", "b"], format="directory").path


@pytest.fixture
def session(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "backups" / made.name))


def copy(session: Path, to: str, **given: Any) -> dict[str, Any]:
    return transfer.copy(SessionAddress.of(str(session)), to, **given)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def there(s3: S3, place: str) -> dict[str, bytes]:
    return s3.objects(place.removeprefix("s3://sessions/"))


def path_in(place: str, session: Path, name: str) -> str:
    """Return the path of a file of a session in the bucket."""
    return f"{place.removeprefix('s3://sessions/')}/{session.name}/{name}"


def test_there_and_back_it_is_the_same_to_the_byte(session: Path, s3: S3, place: str, tmp_path: Path) -> None:
    sessions.record_verified(session, 3, at=NOW, by="test")
    seen: list[tuple[int, int, str, str]] = []
    result = copy(session, place, progress=lambda *words: seen.append(words))
    assert result["session"] == f"{place}/{session.name}" and result["copied"]
    assert there(s3, place) == {f"{session.name}/{n}": data for n, data in content(session).items()}, "no claim is left"
    assert seen[-1] == (result["bytes"], result["bytes"], "bytes", "read back")
    back = transfer.copy(SessionAddress.of(result["session"]), str(tmp_path / "back"))
    assert content(tmp_path / "back") == {f"{session.name}/{n}": data for n, data in content(session).items()}
    assert sessions.facts(tmp_path / "back")[0].verified == 3
    assert back["session"] == str(tmp_path / "back" / session.name)
    assert not copy(session, place)["copied"], "a second copy reads back what is there"


@pytest.mark.parametrize("store", ["s3", "folder"])
def test_a_file_that_changed_is_found_while_it_is_copied_and_nothing_is_left(
    session: Path, s3: S3, place: str, tmp_path: Path, store: str
) -> None:
    largest = max((path for path in session.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"x")
    with pytest.raises(VerifyError, match="its content has changed"):
        copy(session, place if store == "s3" else str(tmp_path / "other"))
    assert there(s3, place) == {} and content(tmp_path / "other") == {}


def test_a_file_that_grew_in_the_store_is_found(session: Path, s3: S3, place: str) -> None:
    copy(session, place)
    s3.put(path_in(place, session, "b.dir/toc.dat"), bytes(20 << 20))
    with pytest.raises(VerifyError, match=r"toc\.dat: its content has changed"):
        copy(session, place)


def test_a_copy_that_is_interrupted_does_not_count_and_the_next_one_finishes(session: Path, s3: S3, place: str) -> None:
    cancel = Cancel()

    def stop(done: int, total: int, unit: str, what: str) -> None:
        cancel.cancel(Interrupted("interrupted", signal=2))

    with pytest.raises(Interrupted):
        copy(session, place, cancel=cancel, progress=stop)
    assert there(s3, place) == {}
    assert copy(session, place)["copied"]


def test_what_a_killed_copy_left_is_not_in_the_way(session: Path, s3: S3, place: str, tmp_path: Path) -> None:
    """As SIGKILL leaves it: a claim and some objects, or a folder with another name whose lock nobody holds."""
    manifest = (session / "manifest.json").read_bytes()
    for to in (place, str(tmp_path / "other")):
        store = open_store(to)
        with pytest.raises(KeyboardInterrupt), store.begin(from_json(manifest), manifest) as upload:
            upload.write("b.dir/toc.dat", [b"half"])
            left = content(tmp_path / "other") if to != place else there(s3, place)
            raise KeyboardInterrupt
        _put_back(left, s3, to, tmp_path / "other")
        assert sessions.MANIFEST not in store.files(session.name)
        assert copy(session, to)["copied"]
        assert set(store.files(session.name)) == set(content(session))
    assert sorted(path.name for path in (tmp_path / "other").iterdir()) == [session.name]


def _put_back(left: dict[str, bytes], s3: S3, place: str, folder: Path) -> None:
    assert any(name.endswith("toc.dat") for name in left)
    for name, data in left.items():
        if place.startswith("s3://"):
            s3.put(f"{place.removeprefix('s3://sessions/')}/{name}", data)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


def test_a_damaged_session_is_not_copied(session: Path, place: str) -> None:
    sessions.record_damage(session, "test", at=NOW, by="test")
    with pytest.raises(VerifyError, match="found this session damaged"):
        copy(session, place)


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("manifest.json", lambda text: text + b" ", "content has changed"),
        ("manifest.json", lambda text: b"{}", "not valid"),
        ("SHA256SUMS", lambda text: b"x", "line 1 is not a checksum"),
    ],
)
def test_a_session_that_somebody_edited_in_the_store_is_not_fetched(
    session: Path, s3: S3, place: str, tmp_path: Path, name: str, change: Callable[[bytes], bytes], match: str
) -> None:
    url = copy(session, place)["session"]
    s3.put(path_in(place, session, name), change((session / name).read_bytes()))
    with pytest.raises(VerifyError, match=match):
        transfer.copy(SessionAddress.of(url), str(tmp_path / "back"))
    assert content(tmp_path / "back") == {}


def test_a_name_that_leads_out_of_the_session_is_refused_even_with_right_sums(
    session: Path, s3: S3, place: str, tmp_path: Path
) -> None:
    url = copy(session, place)["session"]
    old = (session / "manifest.json").read_bytes()
    new = old.replace(b'"b.dir/toc.dat"', b'"../../out.dat"')
    before, after = (hashlib.sha256(text).hexdigest().encode() for text in (old, new))
    s3.put(path_in(place, session, "manifest.json"), new)
    s3.put(path_in(place, session, "SHA256SUMS"), (session / "SHA256SUMS").read_bytes().replace(before, after))
    with pytest.raises(VerifyError, match="is not a file name inside the session"):
        transfer.copy(SessionAddress.of(url), str(tmp_path / "back"))
    assert not (tmp_path / "out.dat").exists()


def test_another_session_under_the_same_name_is_not_written_over(session: Path, s3: S3, place: str) -> None:
    copy(session, place)
    other = (session / "manifest.json").read_bytes() + b"\n"
    s3.put(path_in(place, session, "manifest.json"), other)
    with pytest.raises(TargetError, match="another session of the name"):
        copy(session, place)
    assert there(s3, place)[f"{session.name}/manifest.json"] == other


@pytest.mark.parametrize("fault", ["refuse", "cut"])
def test_a_store_that_fails_is_an_error_in_a_line_and_nothing_counts(
    session: Path, s3: S3, place: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("runner.storage.object_store._RETRY", {"max_retries": 1})
    with FaultProxy(("127.0.0.1", s3.port)) as proxy:
        proxy.refuse, proxy.cut_on = fault == "refuse", b"PUT " if fault == "cut" else None
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(TargetError) as found:
            copy(session, place)
    assert found.value.category == "connection" and "\n" not in found.value.message and SECRET not in str(found.value)
    assert there(s3, place) == {}


def test_two_sessions_of_one_name_at_the_same_time(
    session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a store that keeps conditions on writes the second writer is refused before it writes anything."""
    with stores.seaweed(tmp_path / "weed") as weed:
        for name, value in weed.env().items():
            monkeypatch.setenv(name, value)
        to = "s3://sessions/x"
        store = open_store(to)
        text = (session / "manifest.json").read_bytes()
        other = text.replace(b'"run": "r1"', b'"run": "r2"')
        with store.begin(from_json(text), text), pytest.raises(TargetError, match="another session is written as"):
            store.begin(from_json(other), other).__enter__()
        assert store.files(session.name) == {}
        assert copy(session, to)["copied"] and not copy(session, to)["copied"]
        assert set(store.files(session.name)) == set(content(session))


# ------------------------------------------------------------------ the command and the kind


PLAN = """
name: nightly
steps:
  - {id: save, uses: pg_dump, with: {to: ./backups, tables: [b]}}
  - {id: away, uses: copy_session, with: {session: "${steps.save.session}", to: "${env.PLACE}"}}
  - {id: gone, when: away.ok, uses: sql, with: {text: drop table b}}
"""


def test_a_plan_drops_only_what_lies_elsewhere(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    database = Backups(db, tmp_path / "backups")
    database.sql("create table b (i int); insert into b values (7)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    monkeypatch.setenv("PLACE", place)
    Path("p.yml").write_text(PLAN)
    assert main(["diff", "p.yml"]) == 0
    assert f"copies the new session to {place}, and reads it back there" in capsys.readouterr().out
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert main(["apply", "p.yml", "--yes"]) == 1
    told = capsys.readouterr()
    assert "PR1162" in told.out and "the store refuses these credentials" in told.out and "wrong" not in told.out
    assert database.rows("select * from b") == [(7,)]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert main(["apply", "p.yml", "--resume", "--yes", "-o", "json"]) == 0
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert database.rows("select to_regclass('b')::text") == [(None,)]
    (name,) = database.names()
    shutil.rmtree(database.folder)
    assert main(["backups", "copy", "p.yml", f"{place}/{name}", "--to", "./backups"]) == 0
    assert main(["backups", "restore", "p.yml", "latest", "--yes"]) == 0
    assert database.rows("select * from b") == [(7,)]
    assert main(["backups", "copy", "p.yml", "latest", "--to", "ftp://b/x"]) == 64
    assert "ftp:// is not possible here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("to", "why"),
    [
        ("s3://user:pw@b/x", "credentials in a URL"),
        ("s3:///x", "is not a bucket"),
        ("s3://sessions/../x", "is not a bucket"),
        ("s3://sessions/x?versionId=1", "is not a bucket"),
        ("ftp://b/x", "ftp:// is not possible here"),
    ],
)
def test_an_address_that_is_none_is_refused_by_validate(
    to: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"name": "p", "steps": [{"id": "c", "uses": "copy_session", "with": {"session": "/b/backup_x", "to": to}}]}
    (tmp_path / "p.yml").write_text(json.dumps(plan))
    assert main(["validate", str(tmp_path / "p.yml")]) == 5
    assert why in capsys.readouterr().err
    plan["steps"] = [{"id": "s", "uses": "pg_dump", "with": {"to": "s3://sessions/x", "tables": ["t"]}}]
    (tmp_path / "p.yml").write_text(json.dumps(plan))
    assert main(["validate", str(tmp_path / "p.yml")]) == 5, "a folder of that name would be made"
