"""The comments of one pull request, served as the APIs of GitHub and GitLab serve them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

GITHUB = "/repos/shop/app/issues/7/comments"
GITLAB = "/projects/42/merge_requests/7/notes"
ME = 99


class CodeHost:
    """answer: the status of every request, 0 for no answer until `close`. token: the only one that it accepts.

    comments: `id` and `body`, with `author` (GitLab) and `user` (GitHub). requests: the method and path of each.
    """

    def __init__(self, token: str) -> None:
        self.token, self.answer = token, 200
        self.comments: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.open = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, body: str, *, ours: bool = False) -> int:
        number = 1000 + len(self.comments)
        user = {"login": "x", "type": "Bot" if ours else "User"}
        self.comments.append({"id": number, "body": body, "user": user, "author": {"id": ME if ours else 5}})
        return number

    def bodies(self, *, ours: bool = True) -> list[str]:
        return [one["body"] for one in self.comments if (one["author"]["id"] == ME) == ours]

    def serve(self, method: str, path: str, authorized: bool, body: Any) -> tuple[int, Any]:
        """Return the status and the answer of a request."""
        if not self.answer:
            self.open.wait(30)
        if self.answer != 200 or not authorized:
            return self.answer if authorized else 401, {"message": "::error::refused"}
        where, query = urlsplit(path).path, parse_qs(urlsplit(path).query)
        if method == "GET" and where == "/user":
            return 200, {"id": ME}
        if where in (GITHUB, GITLAB) and method == "GET":
            first, many = (int(query["page"][0]) - 1) * int(query["per_page"][0]), int(query["per_page"][0])
            return 200, self.comments[first : first + many]
        if where in (GITHUB, GITLAB) and method == "POST":
            return 201, {"id": self.add(body["body"], ours=True)}
        head, _, number = where.rpartition("/")
        if (method, head) in (("PATCH", "/repos/shop/app/issues/comments"), ("PUT", GITLAB)):
            (one,) = [one for one in self.comments if one["id"] == int(number)]
            one["body"] = body["body"]
            return 200, one
        return 404, {}


@contextmanager
def code_host(token: str) -> Iterator[CodeHost]:
    host = CodeHost(token)
    thread = threading.Thread(target=host.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield host
    finally:
        host.open.set()
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def _handler(host: CodeHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            host.requests.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = (self.headers.get("Authorization"), self.headers.get("PRIVATE-TOKEN"))
            authorized = given in ((f"Bearer {host.token}", None), (None, host.token))
            status, answer = host.serve(self.command, self.path, authorized, json.loads(body) if body else None)
            text = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
            except OSError:  # the client did not wait
                self.close_connection = True

        do_GET = do_POST = do_PATCH = do_PUT = _any  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            return None

    return Handler
