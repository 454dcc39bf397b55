"""Test servers from three providers with one interface; no test knows which one it got.

    PLANRUN_TEST_URL=postgresql://...   an existing server (needs CREATEDB)             provider "url"
    a Docker daemon that has the image  testcontainers, published on 127.0.0.1 only     provider "docker"
    PostgreSQL programs on this host    runner.server.embedded, one server for each worker     provider "local"

PLANRUN_TEST_PROVIDER=url|docker|local forces one: then its absence is an error, as it always is in CI.
PLANRUN_TEST_IMAGE names the image; it is never pulled. PLANRUN_PG_BIN and PLANRUN_PG_TREES add programs, of
which PLANRUN_TEST_MAJOR chooses (default: the newest).
"""

from __future__ import annotations

import functools
import gc
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import psycopg
import pytest
from psycopg import sql

from runner.server import embedded, programs

IMAGE = os.environ.get("PLANRUN_TEST_IMAGE", "postgres:15")
SPEED = {**embedded.THROWAWAY, "max_wal_size": "4GB"}
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
NONE: Mapping[str, str] = {}
DOCKER_SOCKET = Path("/var/run/docker.sock")
OWNER = "planrun.owner"


@dataclass(frozen=True)
class Server:
    """A server that tests may use. `words` are the libpq parameters of a database that may make others."""

    provider: str
    words: Mapping[str, str]
    major: int
    private: embedded.Server | None = field(default=None, compare=False)

    def conninfo(self, dbname: str = "", **words: str) -> str:
        return psycopg.conninfo.make_conninfo(**{**self.words, **({"dbname": dbname} if dbname else {}), **words})

    def admin(self, dbname: str = "") -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(dbname), connect_timeout=5, autocommit=True)

    def create(self, dbname: str, template: str = "template0", *, beside: str = "") -> str:
        """Make a database and return its conninfo. beside: the database to connect to for that."""
        # on a RAM disk without fsync a file copy takes half the time of WAL_LOG
        how = sql.SQL(" strategy file_copy" if self.major >= 15 else "")
        text = sql.SQL("create database {} template {}{}")
        with self.admin(beside) as connection:
            connection.execute(text.format(sql.Identifier(dbname), sql.Identifier(template), how))
        return self.conninfo(dbname)

    def drop(self, dbname: str) -> None:
        with self.admin() as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(dbname)))

    def clear(self) -> None:
        """Drop every database and role that tests made; for a server that they share one after the other."""
        with self.admin("template1") as connection:
            databases = connection.execute("select datname from pg_database where not datistemplate").fetchall()
            for (name,) in databases:
                connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
            for (name,) in connection.execute("select rolname from pg_roles where oid >= 16384").fetchall():
                connection.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(sql.Identifier(name)))
        self.create(self.words["dbname"], beside="template1")

    @property
    def programs(self) -> programs.Programs:
        """pg_dump, pg_restore and psql that fit this server."""
        return self.private.programs if self.private else programs.client_for(self.major)

    @property
    def local(self) -> embedded.Server:
        """The private server behind it, which may be stopped, killed and started."""
        assert self.private, f"a {self.provider} server cannot be crashed"
        return self.private

    def kill9(self) -> None:
        self.local.kill9()

    def stop(self) -> None:
        self.local.stop()

    def start(self) -> None:
        self.local.start()


def _server_at(provider: str, words: Mapping[str, str]) -> Server:
    with psycopg.connect(psycopg.conninfo.make_conninfo(**words), connect_timeout=10) as connection:
        return Server(provider, words, connection.info.server_version // 10000)


# ------------------------------------------------------------------ local


def servers_here() -> dict[int, programs.Programs]:
    """Return one complete set of programs for each major; the preferred one."""
    found: dict[int, programs.Programs] = {}
    for each in programs.find_installed():
        if not each.no_server:
            found.setdefault(each.major, each)
    return dict(sorted(found.items()))


def majors_to_compare() -> list[int]:
    """Return the oldest and the newest major here; PLANRUN_ALL_MAJORS=1 adds those between."""
    here = list(servers_here())
    return here if os.environ.get("PLANRUN_ALL_MAJORS") else sorted({here[0], here[-1]}) if here else []


def _newest_programs() -> programs.Programs:
    """The newest, so that every machine and CI try the same one unless told otherwise."""
    here = servers_here()
    major = int(os.environ.get("PLANRUN_TEST_MAJOR") or max(here))
    if major not in here:
        pytest.exit(f"PLANRUN_TEST_MAJOR={major}, but there is only {', '.join(map(str, here))}", 3)
    return here[major]


@contextmanager
def local(these: programs.Programs | None = None, settings: Mapping[str, str] = NONE) -> Iterator[Server]:
    these = these or _newest_programs()
    with embedded.private_server(these, settings={**SPEED, **settings}) as private:
        yield Server("local", private.words, these.major, private)


# ------------------------------------------------------------------ url


@contextmanager
def server_with_passwords() -> Iterator[Server]:
    """A private server that requires a password (scram) from everybody but postgres."""
    if not servers_here():
        no_server("no PostgreSQL server programs here")
    with local() as made:
        with made.admin() as conn:
            row = conn.execute("show hba_file").fetchone()
            assert row
            Path(row[0]).write_text("local all postgres trust\nlocal all all scram-sha-256\n")
            conn.execute("select pg_reload_conf()")
        yield made


@contextmanager
def by_url() -> Iterator[Server]:
    words = psycopg.conninfo.conninfo_to_dict(os.environ["PLANRUN_TEST_URL"])
    yield _server_at("url", {"dbname": "postgres", **{name: str(value) for name, value in words.items()}})


# ------------------------------------------------------------------ docker


@functools.cache
def no_docker() -> str:
    """Return why testcontainers cannot be used, "" when it can."""
    if "DOCKER_HOST" not in os.environ and not DOCKER_SOCKET.exists():
        return f"there is no {DOCKER_SOCKET}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the client leaves its socket open when nobody answers
        why = _no_image()
        gc.collect()
    return why


def _no_image() -> str:
    import docker

    try:
        client = docker.from_env(timeout=3)
        try:
            client.images.get(IMAGE)
        finally:
            client.close()
    except Exception as error:  # no daemon, no permission, no image: all mean "not here"
        return f"{type(error).__name__}: {error}"
    return ""


@contextmanager
def in_docker() -> Iterator[Server]:
    _sweep()
    with _container() as box:
        words = {"host": "127.0.0.1", "port": str(box.get_exposed_port(5432)), "dbname": "planrun"}
        yield _server_at("docker", {**words, "user": "planrun", "password": "planrun"})


def _container() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # testcontainers warns about itself at import
        from testcontainers.community.postgres import PostgresContainer
        from testcontainers.core.config import ConnectionMode, testcontainers_config
    testcontainers_config.ryuk_disabled = True  # it would pull an image; _sweep() does its work
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host  # else inside a container it
    testcontainers_config.tc_host_override = "127.0.0.1"  # dials the bridge's address, where nothing is published
    testcontainers_config.sleep_time = 0.1
    box = PostgresContainer(IMAGE, username="planrun", password="planrun", dbname="planrun", driver=None)
    box.ports["5432"] = ("127.0.0.1", None)  # the default publishes on every address
    box.with_env("PGDATA", "/pgdata/data").with_tmpfs_mount("/pgdata", "size=2g,mode=1777")  # overlayfs: 5 x slower
    box.with_kwargs(labels={OWNER: f"{os.getpid()}:{_born(os.getpid())}"}, shm_size="256m")
    return box.with_command("postgres " + " ".join(f"-c {name}={value}" for name, value in SPEED.items()))


def _sweep() -> None:
    """Remove the containers of test runs that were killed."""
    import docker

    client = docker.from_env()
    try:
        for box in client.containers.list(all=True, filters={"label": OWNER}):
            pid, _, born = box.labels[OWNER].partition(":")
            if _born(int(pid)) != born:
                box.remove(force=True, v=True)
    finally:
        client.close()


def _born(pid: int) -> str:
    """Return when a process started, in clock ticks; "alive" or "gone" where there is no /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "gone"
    return "alive"


# ------------------------------------------------------------------ the order


def provide() -> AbstractContextManager[Server]:
    """Choose a provider; without any, fail in CI or when one was asked for, else skip."""
    wanted = os.environ.get("PLANRUN_TEST_PROVIDER", "")
    for name, missing, opened in _providers():
        if wanted in ("", name) and not missing:
            return opened()
        if wanted == name:
            pytest.exit(f"PLANRUN_TEST_PROVIDER={name}, but {missing}", 3)
    no_server("no PostgreSQL to test against: pip install 'planrun[embedded]', or set PLANRUN_TEST_URL")


def no_server(why: str) -> NoReturn:
    if os.environ.get("CI") or os.environ.get("PLANRUN_TEST_PROVIDER"):
        pytest.exit(why, 3)
    pytest.skip(why)


def _providers() -> Iterator[tuple[str, str, Callable[[], AbstractContextManager[Server]]]]:
    yield "url", "" if os.environ.get("PLANRUN_TEST_URL") else "PLANRUN_TEST_URL is not set", by_url
    yield "docker", no_docker(), in_docker
    yield "local", "" if servers_here() else "there are no PostgreSQL server programs here", local
