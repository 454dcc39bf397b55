"""Secrets are taken out in every way they may be written, and nothing else is."""

from __future__ import annotations

import pytest

from runner.errors import Mark, PlanError, Problem, TargetError
from runner.events import ActionDone, TurnTold
from runner.model import Sql, Step, Turn
from runner.redact import Redactor, is_secret


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


def test_data_without_a_secret_is_the_same_object() -> None:
    hide, data = Redactor({"A_KEY": "secret"}), {"rows": [{"a": 1, "b": "x"}, ("y",)]}
    assert hide.of(data) is data
    assert hide.of({"rows": [{"b": "a secret"}]}) == {"rows": [{"b": "a ***"}]}


def test_events_keep_their_shape_and_the_action_that_runs_its_text() -> None:
    hide, action = Redactor({"A_KEY": "secret"}), Sql(text="select 'secret'")
    step = Step(id="a", where=Mark("p", 1, 1), kind="sql")
    shown = hide.of(TurnTold(turn=Turn(step=step, path="a", actions=(action,))))
    assert shown.turn.actions == (Sql(text="select '***'"),) and shown.turn.step is step
    assert action.text == "select 'secret'"
    assert hide.of(ActionDone(path="a", key="k", result={"output": "secret"})).result == {"output": "***"}


def test_errors_are_cleaned_in_place() -> None:
    hide = Redactor({"A_KEY": "secret"})
    error = TargetError("no secret", where="at secret", hint="not secret")
    assert str(hide.error(error)) == "at ***: no ***\n  hint: not ***" and hide.error(error) is error
    wrong = PlanError(Problem(Mark("p", 1, 1), "secret is wrong"))
    assert str(hide.error(wrong)) == "p:1:1: *** is wrong"
