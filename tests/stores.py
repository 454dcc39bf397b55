"""Real servers of object storage, from packages: rclone serves a folder as S3, SeaweedFS is a store of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY, SECRET = "planrun-test", "canary-of-the-store"


@dataclass(frozen=True)
class S3:
    """A server with the bucket `sessions`. port: on 127.0.0.1."""

    port: int

    def env(self, port: int = 0, secret: str = SECRET) -> dict[str, str]:
        """Return the environment that leads to the server, or to a proxy of it on another port."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }

    @property
    def bucket(self) -> Any:
        from obstore.store import S3Store

        return S3Store(
            "sessions",
            access_key_id=KEY,
            secret_access_key=SECRET,
            endpoint=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )

    def objects(self, head: str) -> dict[str, bytes]:
        """Return the objects below a name, without it."""
        import obstore

        bucket = self.bucket
        paths = [str(one["path"]) for some in obstore.list(bucket, prefix=head) for one in some]
        return {path.removeprefix(f"{head}/"): bytes(obstore.get(bucket, path).bytes()) for path in paths}

    def put(self, path: str, content: bytes) -> None:
        """Write an object, as somebody could who has the rights."""
        import obstore

        obstore.put(self.bucket, path, content)

    def delete(self, path: str) -> None:
        import obstore

        obstore.delete(self.bucket, path)


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[S3]:
    """Serve a folder as S3 by rclone, which ignores conditions on writes. It has the bucket `sessions`."""
    (folder / "sessions").mkdir(parents=True)
    port = _free_port()
    argv = ["serve", "s3", f"--auth-key={KEY},{SECRET}", f"--addr=127.0.0.1:{port}", str(folder)]
    with _running("rclone", argv, folder.with_suffix(".log"), lambda: _answers(port)):
        yield S3(port)


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[S3]:
    """Run SeaweedFS, which keeps conditions on writes. It takes about 6 s until it stores something."""
    folder.mkdir(parents=True)
    rights = ["Admin", "Read", "Write", "List", "Tagging"]
    who = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": rights}
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    ports = {name: _free_port() for name in ("s3", "master", "volume", "filer")}
    argv = [
        "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.config={folder / 's3.json'}",
        "-master.volumeSizeLimitMB=64", "-volume.max=20", *(f"-{name}.port={port}" for name, port in ports.items()),
    ]  # fmt: skip
    store = S3(ports["s3"])
    with _running("weed", argv, folder.with_suffix(".log"), lambda: _stores(store)):
        yield store


@contextlib.contextmanager
def _running(program: str, argv: list[str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    path = Path(sys.executable).with_name(program)
    with log.open("wb") as output, subprocess.Popen([path, *argv], stdout=output, stderr=output) as process:
        try:
            end = time.monotonic() + 60
            while not ready():
                assert process.poll() is None and time.monotonic() < end, log.read_text()
                time.sleep(0.1)
            yield
        finally:
            process.kill()


def _free_port() -> int:
    """Return a port below 55536: SeaweedFS also listens on the port that is 10,000 higher."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        if port < 55536:
            return port


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _stores(server: S3) -> bool:
    from obstore.exceptions import BaseError

    with contextlib.suppress(BaseError):
        server.put("probe", b"x")
        return True
    return False
