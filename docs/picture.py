"""Draw docs/demo.svg: what `planrun demo` prints, each line when it comes, in 20 seconds.

Draw docs/diff.svg: the diff of the case swap_tables/reviewed, in the colours of a terminal.

.venv/bin/python docs/picture.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from html import escape
from pathlib import Path

from runner.report.colours import colour

SECONDS, ROWS, COLUMNS, SIZE, LEADING = 20, 30, 100, 13, 18

STYLE = (
    (r"^\$ .*", "cmd"),
    (r"^\d\. .*", "head"),
    (r"^(next|the whole output).*", "say"),
    (r"^[-+~=] \d[^:]*", "add"),
    (r"^Plan: .*", "head"),
    (r"(?<=: )ok\b", "ok"),
    (r"none failed|all are the same|all of them are there", "ok"),
)
CSS = """
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d8dee9; white-space: pre }
.cmd { fill: #a3be8c; font-weight: bold } .say { fill: #88c0d0 } .ok { fill: #a3be8c } .head { font-weight: bold }
.add { fill: #b9d6a4 } .line { animation: show 0.01s backwards }
@keyframes show { from { opacity: 0 } }
"""
STILL = (
    "@media (prefers-reduced-motion: reduce) { .line { animation: none } .page { animation-duration: 0s !important } }"
)


def demo_lines() -> list[tuple[float, str]]:
    """Return the lines of a run of the demo in a pipe, each with the second in which it came."""
    env = {**os.environ, "CI": "1", "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    lines = [(0.0, "$ make demo")]
    argv = [sys.executable, "-m", "runner", "demo"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        for line in demo.stdout:
            text = re.sub(r"\S+ -m runner", "planrun", line.rstrip())
            lines.append((time.monotonic() - began, text[:COLUMNS]))
    if demo.returncode:
        raise SystemExit(demo.returncode)
    return lines


def colour_line(line: str) -> str:
    """Return a line as SVG text: the first style that fits colours what it matches."""
    for pattern, name in STYLE:
        if match := re.search(pattern, line):
            before, here, after = line[: match.start()], match[0], line[match.end() :]
            return f'{escape(before)}<tspan class="{name}">{escape(here)}</tspan>{escape(after)}'
    return escape(line)


def picture(lines: list[tuple[float, str]]) -> str:
    """Return the animated SVG: each line appears when it came, and the page scrolls when it is full."""
    pace = SECONDS / lines[-1][0]
    texts = [
        f'<text class="line" style="animation-delay:{came * pace:.2f}s" x="12" y="{(number + 1) * LEADING}">'
        f"{colour_line(line)}</text>"
        for number, (came, line) in enumerate(lines)
    ]
    steps = [
        f"{100 * came / lines[-1][0]:.2f}% {{ transform: translateY(-{number * LEADING}px) }}"
        for number, (came, _) in enumerate(lines[ROWS:], 1)
    ]
    scroll = f"@keyframes scroll {{ 0% {{ transform: translateY(0) }} {' '.join(steps)} }}"
    moving = f".page {{ animation: scroll {SECONDS}s steps(1, end) forwards }}"
    width, height = COLUMNS * SIZE * 0.61 + 24, ROWS * LEADING + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" role="img" aria-label="The output of planrun demo"><style>{CSS}{scroll}{moving}{STILL}'
        f'</style><rect width="100%" height="100%" rx="8" fill="#2e3440"/><g class="page">{"".join(texts)}</g></svg>\n'
    )


_ANSI = re.compile(r"\x1b\[([\d;]*)m(.*?)\x1b\[0m")
_INKS = {"31": "#e06c75", "32": "#a3be8c", "33": "#ebcb8b", "35": "#b48ead", "36": "#88c0d0"}


def still(lines: list[str]) -> str:
    """Return an SVG of coloured lines of a terminal, as they are."""
    texts = [f'<text x="12" y="{(n + 1) * LEADING}">{_styled_spans(line)}</text>' for n, line in enumerate(lines)]
    width, height = 84 * SIZE * 0.61 + 24, len(lines) * LEADING + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}"><style>{CSS}</style><rect width="100%" height="100%" rx="8" fill="#2e3440"/>'
        f"{''.join(texts)}</svg>\n"
    )


def _styled_spans(line: str) -> str:
    done, parts = 0, list[str]()
    for match in _ANSI.finditer(line):
        codes = match[1].split(";")
        ink = next((_INKS[code] for code in codes if code in _INKS), "#7b8494" if codes == ["2"] else "#eceff4")
        weight = "bold" if "1" in codes else "normal"
        parts += [escape(line[done : match.start()])]
        parts += [f'<tspan fill="{ink}" font-weight="{weight}">{escape(match[2])}</tspan>']
        done = match.end()
    return "".join([*parts, escape(line[done:])])


def diff_lines() -> list[str]:
    """Return the diff of the case, coloured; what the test made general is made an example again."""
    text = (ROOT / "tests" / "cases" / "swap_tables" / "reviewed" / "diff.txt").read_text()
    examples = {"from PLANRUN_TARGET_URL": "from service prod", "from PLANRUN_SOURCE_URL": "from service staging"}
    examples |= {"target: <database>": "target: prod at db1:5432 as owner", "plan.yml": "prod.yml"}
    examples |= {"source: <database>": "source: staging at db0:5432 as owner", "<run>": "20261126T013107Z-3f9a"}
    examples |= {"<size>": "1,344 kB", "<time>": "22 h 10 min"}
    for general, example in examples.items():
        text = text.replace(general, example)
    return ["$ planrun diff prod.yml", *colour(text).splitlines()]


ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    Path(__file__).with_name("demo.svg").write_text(picture(demo_lines()), encoding="utf-8")
    Path(__file__).with_name("diff.svg").write_text(still(diff_lines()), encoding="utf-8")
