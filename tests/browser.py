"""A real browser for the tests of pages: Chromium as Debian, Homebrew or Google install it, without a window."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


def browser() -> str:
    """Return the program; PLANRUN_BROWSER names another one. Without one a test is skipped.

    In CI it fails where root could have installed one, as .ci/run does. tests/unit/test_webpage.py holds the same
    promises without a browser.
    """
    found = [os.environ.get("PLANRUN_BROWSER") or "", *(shutil.which(name) or "" for name in NAMES), MAC]
    for program in found:
        if program and Path(program).is_file():
            return program
    why = "there is no Chromium here (apt-get install chromium), and PLANRUN_BROWSER names none"
    if os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(f"{why}: in CI the pages must be tried in a real browser")
    pytest.skip(why)


@contextmanager
def serve(pages: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve pages by their paths on this machine; yield the address and the paths that were asked for so far."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            page = pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write((page or "").encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def visit(address: str, folder: Path) -> str:
    """Open a page, wait until it and its frames are loaded and their scripts have run, and return its document."""
    argv = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-extensions",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={folder}",
        "--virtual-time-budget=2000", "--dump-dom", address,
    ]  # fmt: skip
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
