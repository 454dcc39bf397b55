"""What `planrun init` says at its end: what it wrote, and the commands to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from runner.cli.init import surroundings, units, workflows
from runner.cli.init.answers import ENVIRONMENT, Answers
from runner.cli.program_name import program_name


def next_steps_text(answers: Answers, written: Sequence[Path], env: Mapping[str, str]) -> str:
    """Return the end of the output. Every line of a command works as it is, in the folder where planrun was started."""
    lines = ["wrote:", *(f"  {file}" for file in written)]
    if first := list(_connect(answers, env)):
        lines += ["first, say which database:", *(f"  {line}" for line in first)]
    lines += ["next:", *(f"  {line}" for line in _columns(list(_commands(answers))))]
    for what, steps in (("in CI", _ci(answers)), ("every night", _timer(answers))):
        if more := list(steps):
            lines += [f"{what}:", *(f"  {line}" for line in more)]
    return "\n".join(lines) + "\n"


def _commands(answers: Answers) -> Iterator[tuple[str, str]]:
    name, file = program_name(), shlex.quote(str(answers.file))
    yield f"{name} doctor {file}", "the connection, rights and programs"
    yield f"{name} validate {file}", "the plan alone, without a database"
    yield f"{name} test {file}", "its case, on a throw-away server"
    yield f"{name} diff {file}", "what it would do; nothing is changed"
    yield f"{name} apply {file}", "shows the diff, asks, and runs"


def _columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max(len(command) for command, _ in rows)
    yield from (f"{command:{width}}  # {what}" for command, what in rows)


def _connect(answers: Answers, env: Mapping[str, str]) -> Iterator[str]:
    """Yield what makes the connections work, where the environment does not name them already."""
    if answers.job == "migration" and answers.target != ENVIRONMENT:
        yield f"export PGSERVICE={answers.target}"
        return
    if answers.job == "refresh":
        for name in ("source", "target"):
            variable = f"PLANRUN_{name.upper()}_URL"
            if getattr(answers, name) == ENVIRONMENT and not env.get(variable):
                yield f"export {variable}=postgresql://USER@HOST/DATABASE  # the password: ~/.pgpass"
        return
    if answers.target == ENVIRONMENT and not surroundings.has_address(env):
        if surroundings.dotenv_has_url(answers.start):
            yield "set -a; . ./.env; set +a"
        else:
            yield "export DATABASE_URL=postgresql://USER@HOST/DATABASE  # the password: ~/.pgpass"


def _ci(answers: Answers) -> Iterator[str]:
    if answers.ci == "none":
        return
    where = {
        "github": "Settings, Secrets and variables, Actions",
        "gitlab": "Settings, CI/CD, Variables (masked)",
    }[answers.ci]
    yield f"set {' and '.join(workflows.secrets(answers))}: {where}"
    if answers.ci == "gitlab" and not _is_included(answers):
        yield f"add to .gitlab-ci.yml: include: [{{local: {workflows.workflow_file(answers)}}}]"
    found, known = surroundings.find_package()
    if answers.package == found and not known:
        yield f"the workflow installs {found}: change that if your planrun comes from elsewhere"


def _is_included(answers: Answers) -> bool:
    text = (answers.root / ".gitlab-ci.yml").read_text(encoding="utf-8")
    return workflows.workflow_file(answers) in text


def _timer(answers: Answers) -> Iterator[str]:
    if answers.systemd:
        name = units.unit_name(answers)
        yield f"sudo cp systemd/{name}.* /etc/systemd/system/"
        if answers.target == ENVIRONMENT:
            yield f"sudo install -D -m 600 /dev/null {units.environment_file(answers)}  # and put the URL into it"
        yield f"sudo systemctl daemon-reload && sudo systemctl enable --now {name}.timer"
