"""`notify:` as it is written: who is told, from which variables, and what is wrong with it; no value is ever quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import PlanError
from runner.language import notifications
from runner.model import Plan
from runner.planfile import open_plan
from runner.redact import address_secrets

CANARY = "T0SECRETX9"
ENV = {
    "SLACK": f"slack://{CANARY}/{CANARY}/{CANARY}",
    "HOOK": f"https://hooks.example.com/services/{CANARY}",
    "KEY": CANARY,
    "EMPTY": "",
    "FTP": f"ftp://example.com/{CANARY}",
    "USER": f"https://me:{CANARY}@example.com/x",
}
HEAD = "name: p\nsteps:\n  - {id: a, uses: sql, with: {text: select 1}}\nnotify:\n"


def plan(folder: Path, entry: str, *, offline: bool = False) -> Plan:
    (folder / "plan.yml").write_text(f"{HEAD}  - {entry}\n")
    return open_plan(folder / "plan.yml", env=ENV, offline=offline)


def problems(folder: Path, entry: str, *, offline: bool = False) -> list[str]:
    with pytest.raises(PlanError) as raised:
        plan(folder, entry, offline=offline)
    text = str(raised.value)
    assert CANARY not in text
    return [
        f"{one.where.line}:{one.where.column} {one.code} {one.message}; {one.hint}" for one in raised.value.problems
    ]


def test_the_moments_when_none_are_given(tmp_path: Path) -> None:
    assert plan(tmp_path, '{url: "${env.SLACK}"}').notify[0].on == ("failure",)
    hook = plan(tmp_path, '{webhook: "${ env.HOOK }", secret: "${env.KEY}"}').notify[0]
    assert (hook.on, hook.variable, hook.address, hook.secret) == (("start", "exit"), "HOOK", ENV["HOOK"], CANARY)
    assert CANARY not in repr(hook)
    ping = plan(tmp_path, '{ping: "${env.HOOK}", on: [start], timeout: 2s}').notify[0]
    assert (ping.on, ping.timeout) == (("start",), 2.0)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (f'{{webhook: "https://x.example/{CANARY}"}}', "5:15 PR1085 webhook: an address or a key does not belong in a"),
        (f'{{ping: "https://x.example/${{env.KEY}}/{CANARY}"}}', "5:12 PR1085 ping: an address or a key"),
        (f'{{webhook: "${{env.HOOK}}", secret: {CANARY}}}', "PR1085 secret: an address or a key does not belong"),
        ('{webhook: "${params.x}"}', "PR1085 webhook: an address or a key"),
        ('{webhook: "${env.NONE}"}', "5:15 PR0202 the environment has no NONE; export NONE=..., or leave it empty"),
        ('{webhook: "${env.FTP}"}', "PR1087 webhook: the variable has no http or https URL"),
        ('{ping: "${env.USER}"}', "PR1087 ping: the URL has a user or a password"),
        ('{url: "${env.KEY}"}', "PR1087 url: the variable has no URL of Apprise"),
        (
            '{webhook: "${env.HOOK}", secret: "${env.EMPTY}"}',
            "PR1087 EMPTY is empty: the webhook would get no signature",
        ),
        ('{ping: "${env.HOOK}", secret: "${env.KEY}"}', "PR1086 only a webhook has a `secret`"),
        ('{ping: "${env.HOOK}", on: [start, fail]}', "PR1086 on: there is no moment 'fail'; "),
        ('{ping: "${env.HOOK}", on: []}', "PR1086 on: needs a list of moments"),
        ('{ping: "${env.HOOK}", timeout: 1h}', "PR1086 timeout: is not a time up to 5 min"),
        ('{pin: "${env.HOOK}"}', "PR1086 'pin' is not known in `notify`; did you mean 'ping'?"),
        (
            '{url: "${env.SLACK}", ping: "${env.HOOK}"}',
            "PR1086 an entry of `notify` has one of url, webhook, ping; it has",
        ),
        ('"${env.SLACK}"', "PR1086 an entry of `notify` is a mapping"),
        ('{ping: "${env.HOOK}", template: ../../x.txt}', "PR0115 '../../x.txt' is outside the plan's root folder"),
        ('{ping: "${env.HOOK}", template: none.txt}', "PR0115 there is no file 'none.txt'"),
    ],
)
def test_what_is_wrong_is_said_at_its_place_without_the_value(tmp_path: Path, entry: str, problem: str) -> None:
    (tmp_path / ".git").mkdir()
    assert any(problem in one for one in problems(tmp_path, entry)), problems(tmp_path, entry)


def test_an_unset_variable_is_no_problem_offline_and_an_empty_one_tells_nobody(tmp_path: Path) -> None:
    assert plan(tmp_path, '{webhook: "${env.NONE}"}', offline=True).notify[0].address == ""
    assert plan(tmp_path, '{webhook: "${env.EMPTY}"}').notify[0].address == ""
    (tmp_path / "plan.yml").write_text(f'{HEAD}  - {{webhook: "${{env.NONE}}", secret: "${{env.NONE}}"}}\n')
    assert open_plan(tmp_path / "plan.yml", env=ENV, tells=False).notify, "as in a case of the plan"


def test_a_missing_extra_is_found_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "find_spec", lambda name: None)
    (found,) = problems(tmp_path, '{url: "${env.SLACK}"}', offline=True)
    assert "PR1088" in found and found.endswith("; pip install 'planrun[notify]'")
    assert plan(tmp_path, '{webhook: "${env.HOOK}"}').notify


def test_templates_are_tried_with_the_facts_of_each_moment(tmp_path: Path) -> None:
    def said(text: str) -> str:
        (tmp_path / "say.txt").write_text(text)
        return problems(tmp_path, '{ping: "${env.HOOK}", template: say.txt}')[0]

    (tmp_path / "say.txt").write_text("{{ title }}\n{% for one in databases %}{{ one }}{% endfor %}\n{{ counts.ok }}")
    assert "PR1092 there is no field 'ok'" in said("{{ counts.ok }}")
    assert said("a\n  {{ sttae }}").startswith("2:3 PR1092")
    assert said("{{ databases.append(1) }}").startswith("1:1 PR1092")
    assert "gives no text for the moment `start`" in said("{% if error %}{{ error }}{% endif %}")
    (tmp_path / "say.txt").write_text("{{ plan }} {{ state }}\n")
    loaded = plan(tmp_path, '{ping: "${env.HOOK}", template: say.txt}')
    assert loaded.notify[0].text == "{{ plan }} {{ state }}\n"
    assert "say.txt" in loaded.content, "a change of the template is a change of the plan"


def test_a_template_of_an_extended_plan_is_beside_that_plan(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "say.txt").write_text("{{ title }}")
    (tmp_path / "base" / "base.yml").write_text(HEAD + '  - {ping: "${env.HOOK}", template: say.txt}\n')
    (tmp_path / "plan.yml").write_text("name: q\nextends: base/base.yml\n")
    (one,) = open_plan(tmp_path / "plan.yml", env=ENV).notify
    assert one.text == "{{ title }}"
    (tmp_path / "plan.yml").write_text('extends: base/base.yml\nnotify: [{ping: "${env.HOOK}"}]\n')
    assert len(open_plan(tmp_path / "plan.yml", env=ENV).notify) == 1, "a list replaces the list"


def test_the_parts_of_an_address_that_may_be_secrets() -> None:
    assert set(address_secrets("https://hooks.example.com/services/T00AB/xyzzy1234?t=AbCdEfGh")) == {
        "/services/T00AB/xyzzy1234?t=AbCdEfGh", "xyzzy1234", "AbCdEfGh",
    }  # fmt: skip
    assert {"TokenA123", "TokenB123"} <= set(address_secrets("slack://TokenA123/TokenB123"))
    assert "127.0.0.1" not in set(address_secrets("json://127.0.0.1:80/x"))
    assert set(address_secrets("https://alerts.example.com")) == set()
