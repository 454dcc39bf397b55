"""Render the templates of the pages: every value becomes text, whatever it contains."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from runner.words import plural, safe, seconds, size

_FOLDER = "templates"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("runner.webpage", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=size, duration=seconds, plural=_plural, thousands=_thousands)
    environment.globals["style"] = Markup(_style())
    environment.globals["style_hash"] = style_hash()
    return environment


def _visible(value: Any) -> Any:
    """Return a value with its control and direction characters made visible, as on a terminal."""
    return value if isinstance(value, Markup) else safe(str(value))


def _plural(count: int, one: str, many: str = "") -> str:
    return plural(count, one, many)


def _thousands(value: float) -> str:
    return f"{value:,.0f}"


@cache
def _style() -> str:
    return resources.files("runner.webpage").joinpath(_FOLDER, "style.css").read_text(encoding="utf-8")


def style_hash() -> str:
    """Return the hash by which the policy of a page allows its style and no other (CSP 3, hash-source)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()}"


def render(name: str, **values: Any) -> str:
    """Return a page. Raises jinja2.UndefinedError for a value that the template names and nobody gives."""
    return _environment().get_template(name).render(**values)
