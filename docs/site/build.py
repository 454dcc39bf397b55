"""Build the documentation site: python -m docs.site.build --version 0.1 (make site).

The pages are copied to build/site-pages in the folders that they have in the repository, so that every link between
them works as it is; zensical makes build/site/VERSION of them; check.py follows every link of the result.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

from docs.site.check import broken_links

ROOT = Path(__file__).resolve().parents[2]
HOME = Path("docs/site")
SHIM = "https://unpkg.com/iframe-worker/shim"
"""What zensical's plugin `offline` loads from another host; iframe-worker.js is the same."""

LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Build one version, then the list of all versions; exit with 1 if a link leads nowhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True, help="the folder of this version, such as 0.1")
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="the folder for all that is made")
    args = parser.parse_args()
    pages, site = args.build / "site-pages", args.build / "site"
    copy_pages(pages)
    made = site / args.version
    shutil.rmtree(made, ignore_errors=True)
    run_zensical(args.build, args.version)
    copy_linked_files(pages, made)
    finish_pages(made)
    write_versions(site)
    broken = [*broken_links(site)]
    for line in broken:
        print(line, file=sys.stderr)
    print(f"{made / 'index.html'}: {len(list(made.rglob('*.html')))} pages, {len(broken)} broken links")
    sys.exit(bool(broken))


# ------------------------------------------------------------------ pages


def copy_pages(target: Path) -> None:
    """Copy every page, and what they link to, to the same places below `target`."""
    shutil.rmtree(target, ignore_errors=True)
    for page in pages():
        _write(target / page, for_site((ROOT / page).read_text(encoding="utf-8")))
    for name in ("style.css", "iframe-worker.js"):
        _write(target / HOME / name, (ROOT / HOME / name).read_text(encoding="utf-8"))
    for path in linked_files():
        if path.suffix in (".png", ".svg"):
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target / path)


def pages() -> list[Path]:
    """Return the pages of the site: those of docs/, and the Markdown files elsewhere that pages link to."""
    found = {Path("README.md"), *(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))}
    linked = {path for page in found for path in _links(page) if path.suffix == ".md"}
    return sorted(found | linked)


def linked_files() -> list[Path]:
    """Return the files and folders of the repository that pages link to and that are no pages themselves."""
    return sorted({path for page in pages() for path in _links(page) if path.suffix != ".md"})


def _links(page: Path) -> Iterator[Path]:
    for target in LINK.findall(FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))):
        path = (ROOT / page.parent / target).resolve()
        if path.exists() and path.is_relative_to(ROOT):
            yield path.relative_to(ROOT)


def for_site(text: str) -> str:
    """Return a page as Python-Markdown reads it like GitHub: a table in a list is indented by four spaces, a blank
    line comes before a list, and a chain of Mermaid boxes is a table, because no script draws it without a network."""
    text = MERMAID.sub(lambda found: _layer_table(found[1]), text)
    parts = re.split(f"({FENCE.pattern})", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if at % 2 else _prose(part) for at, part in enumerate(parts))


def _prose(text: str) -> str:
    text = re.sub(r"^  (?=\|)", "    ", text, flags=re.MULTILINE)
    return re.sub(r"^(?![*\s|#-])(.+)\n(?=\* )", r"\1\n\n", text, flags=re.MULTILINE)


def _layer_table(mermaid: str) -> str:
    boxes = re.findall(r'(\d+)\["([^"]+)"\]', mermaid)
    rows = (f"| {number} | {' '.join(f'`{name}`' for name in names.split())} |\n" for number, names in boxes)
    return "| layer | modules |\n| --- | --- |\n" + "".join(rows)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------ zensical


def navigation() -> list[dict[str, str | list[dict[str, str]]]]:
    """Return the navigation: each heading of docs/README.md with the list of links below it."""
    found: list[dict[str, str | list[dict[str, str]]]] = [{"Home": "README.md"}]
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        links = re.findall(r"^\* \[([^\]]+)\]\(([^)]+)\)", body, re.MULTILINE)
        found.append({title.strip(): [{name: _from_root(target)} for name, target in links]})
    return found


def _from_root(target: str) -> str:
    return (ROOT / "docs" / target).resolve().relative_to(ROOT).as_posix()


def run_zensical(build: Path, version: str) -> None:
    """Make build/site/VERSION of build/site-pages; exit with 1 if zensical has a complaint."""
    settings = {
        "site_name": f"planrun {version}",
        "docs_dir": "site-pages",
        "site_dir": f"site/{version}",
        "nav": navigation(),
        "copyright": f'planrun {version}. <a href="VERSIONS">All versions</a>',
    }
    head = "".join(f"{key} = {_toml(value)}\n" for key, value in settings.items())
    config = (ROOT / HOME / "zensical.toml").read_text(encoding="utf-8")
    (build / "zensical.toml").write_text(config.replace("[project]\n", f"[project]\n{head}", 1))
    command = [str(Path(sys.executable).parent / "zensical"), "build", "--strict", "--clean", "-f", "zensical.toml"]
    if subprocess.run(command, cwd=build, stderr=subprocess.DEVNULL).returncode:
        sys.exit("zensical found what it names above")


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(one)}' for key, one in value.items())}}}"
    return json.dumps(value)


# ------------------------------------------------------------------ the result


def copy_linked_files(pages_folder: Path, made: Path) -> None:
    """Copy what pages link to (plans, schemas, sources), which zensical does not take."""
    for path in linked_files():
        target = made / path
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, target)


def finish_pages(made: Path) -> None:
    """Let every page load the script for searching without a server from the site, and link to the versions.

    A page for what is not found and a site map need the address of the site, which nobody knows here.
    """
    for name in ("404.html", "sitemap.xml"):
        (made / name).unlink(missing_ok=True)
    for page in made.rglob("*.html"):
        up = "../" * (len(page.relative_to(made).parts) - 1)
        text = page.read_text(encoding="utf-8")
        text = text.replace(SHIM, f"{up}{HOME.as_posix()}/iframe-worker.js")
        page.write_text(text.replace('href="VERSIONS"', f'href="{up}../index.html"'), encoding="utf-8")


def write_versions(site: Path) -> None:
    """Write the page that lists the versions that are in the folder, the newest first."""
    found = [path.parent.name for path in site.glob("*/index.html")]
    newest_first = sorted(found, key=lambda name: [int(word) for word in re.findall(r"\d+", name)], reverse=True)
    items = "".join(f'<li><a href="{escape(name)}/index.html">planrun {escape(name)}</a></li>' for name in newest_first)
    (site / "index.html").write_text(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
        "<meta name='color-scheme' content='light dark'><title>planrun</title>"
        "<style>body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}</style>"
        f"<h1>planrun</h1><p>The documentation of each version, the newest first:</p><ul>{items}</ul></html>\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
