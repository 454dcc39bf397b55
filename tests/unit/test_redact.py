"""Secrets are taken out in every way they may be written, and nothing else is."""

from __future__ import annotations

import html
import json
import shlex
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st

from runner.errors import Mark, PlanError, Problem, TargetError
from runner.events import ActionDone, StepPlanned
from runner.model import PlannedStep, Sql, Step
from runner.redact import Redactor, is_secret
from runner.sqltext import ident, literal


@pytest.mark.parametrize(
    "name", ["DB_PASSWORD", "PGPASSWORD", "API_TOKEN", "SIGNING_KEY", "KEY2", "secret_x", "DBPASS"]
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PWD", "OLDPWD", "PASSWORD_FILE", "KEYBOARD", "TOKEN_PATH", "HOME", "DATABASE_URL"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("secret", "written"),
    [
        ("pa'ss", "'pa''ss'"),
        ("pa\\ss", "E'pa\\\\ss'"),
        ("p'a\\ss", "E'p''a\\\\ss'"),
        ('pa"ss', '"pa""ss"'),
        ("pa@ss/", "u:pa%40ss%2F@h"),
        ('line\n"two"', '{"a": "line\\n\\"two\\""}'),
        ("a first line\na second line", "only a second line of it"),
        (" secret\n", "secret"),
    ],
)
def test_every_way_to_write_it(secret: str, written: str) -> None:
    shown = Redactor({"A_TOKEN": secret}).text(written)
    assert "***" in shown and "ss" not in shown and "second" not in shown


def test_the_password_of_a_url_is_hidden_also_alone_and_decoded() -> None:
    hide = Redactor({}, {"DATABASE_URL": "postgresql://u:long%20secret@h/db"})
    assert hide.text("long secret and long%20secret at h/db") == "*** and *** at h/db"
    assert Redactor({}).text("see mysql://u:p@h/x") == "see mysql://u:***@h/x"


def test_a_password_that_is_a_common_word_hides_nothing_else() -> None:
    around = {"DATABASE_URL": "postgresql://postgres:postgres@h/postgres", "X_TOKEN": "true"}
    assert Redactor({}, around).text("/var/lib/postgres is true") == "/var/lib/postgres is true"


@pytest.mark.parametrize(
    "value",
    [
        "host=h user=u password=S3cret-pw-1 dbname=d",
        "password = 'S3cret-pw-1' host=h",
        r"password='S3cret\-pw-1'",
        "postgresql://u@h/d?password=S3cret-pw-1&sslmode=require",
        "postgresql://u@h/d?sslpassword=S3cret%2Dpw-1",
        "postgresql+psycopg2://u:S3cret-pw-1@h/d",
    ],
)
def test_the_password_of_every_kind_of_connection(value: str) -> None:
    hide = Redactor({}, {"PLANRUN_TARGET_URL": value})
    assert hide.text("it is S3cret-pw-1") == "it is ***"
    assert "S3cret" not in hide.text(value)


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=4, max_size=24)
WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json with its own letters": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps(text)),
    "yaml": lambda text: yaml.safe_dump(text, default_style='"', width=10_000),
    "yaml with its own letters": lambda text: yaml.safe_dump(text, default_style="'", width=10_000, allow_unicode=True),
    "literal": lambda text: str(literal(text)),
    "identifier": lambda text: str(ident(text)),
    "python": repr,
    "python in ASCII": ascii,
    "bytes": lambda text: repr(text.encode()),
    "shell": shlex.quote,
    "url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "html": html.escape,
    "base64": lambda text: b64encode(text.encode()).decode(),
}


@pytest.mark.parametrize("how", WRITTEN)
@given(secret=TEXTS)
@example(secret='Pa"ss\\wörd-Ünique-77')
@example(secret="it's 100%")
def test_no_way_to_write_a_secret_tells_it(how: str, secret: str) -> None:
    written = WRITTEN[how](f"x{secret}y" if how not in ("base64",) else secret)
    assume("***" not in written and len(secret.encode()) < 60)
    core = WRITTEN[how](secret)
    shown = Redactor({"MY_SECRET": secret}).text(f"<{written}>")
    assert "***" in shown and core not in shown and secret not in shown


def test_what_is_named_is_hidden_at_any_length() -> None:
    hide = Redactor({"A_PASSWORD": "k7"}, {"OTHER_TOKEN": "short-1"})
    assert hide.text("k7, (k7) and mark7, short-1") == "***, (***) and mark7, short-1"
    hide.learn("short-1")
    assert hide.text("it is short-1") == "it is ***"


def test_data_without_a_secret_is_the_same_object() -> None:
    hide, data = Redactor({"A_KEY": "secret"}), {"rows": [{"a": 1, "b": "x"}, ("y",)]}
    assert hide.of(data) is data
    assert hide.of({"rows": [{"b": "a secret"}]}) == {"rows": [{"b": "a ***"}]}


def test_events_keep_their_shape_and_the_action_that_runs_its_text() -> None:
    hide, action = Redactor({"A_KEY": "secret"}), Sql(text="select 'secret'")
    step = Step(id="a", where=Mark("p", 1, 1), kind="sql")
    shown = hide.of(StepPlanned(planned=PlannedStep(step=step, path="a", actions=(action,))))
    assert shown.planned.actions == (Sql(text="select '***'"),) and shown.planned.step is step
    assert action.text == "select 'secret'"
    assert hide.of(ActionDone(path="a", key="k", result={"output": "secret"})).result == {"output": "***"}


def test_errors_are_cleaned_in_place() -> None:
    hide = Redactor({"A_KEY": "secret"})
    error = TargetError("no secret", where="at secret", hint="not secret")
    assert str(hide.error(error)) == "at ***: no ***\n  hint: not ***" and hide.error(error) is error
    wrong = PlanError(Problem(Mark("p", 1, 1), "secret is wrong", code="PR0110"))
    assert str(hide.error(wrong)) == "p:1:1: PR0110 *** is wrong"
