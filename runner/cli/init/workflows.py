"""A workflow file that runs a plan in CI: GitHub Actions or GitLab CI."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from runner.cli.init.answers import ENVIRONMENT, Answers
from runner.cli.init.plans import scalar

_SECRETS = {"source": "PLANRUN_SOURCE_URL", "target": "PLANRUN_TARGET_URL"}

_NODE = "npm ci"
_PYTHON = "python -m pip install -r requirements.txt"
_TOOL_SETUP: Mapping[str, str] = {"npx": _NODE, "alembic": _PYTHON, "python": _PYTHON}
"""The program of a migration -> the command with which a project usually installs it."""


def workflow_file(answers: Answers) -> str:
    """Return the path of the workflow from the root of the repository."""
    folder = ".github/workflows" if answers.ci == "github" else ".gitlab"
    return f"{folder}/planrun-{answers.file.stem}.yml"


def workflow_text(answers: Answers) -> str:
    return _github(answers) if answers.ci == "github" else _gitlab(answers)


def secrets(answers: Answers) -> list[str]:
    """Return the variables with a URL that a job needs: one for each connection."""
    if answers.job == "refresh":
        return list(_SECRETS.values())
    named = answers.job == "nightly" and answers.target != ENVIRONMENT
    return [_SECRETS["target"] if named else "DATABASE_URL"]


def _path(answers: Answers, name: str = "") -> str:
    """Return the path of the plan, or of a file where planrun was started, from the root of the repository."""
    file = answers.start / name if name else answers.file.absolute()
    return os.path.relpath(file, answers.root)


def _install(answers: Answers) -> list[str]:
    program = answers.command[0] if answers.command else ""
    tool = [_TOOL_SETUP[program]] if program in _TOOL_SETUP else []
    if program and not tool:
        tool = [f"{shlex.quote(program)} --version  # install it here"]
    folder = os.path.relpath(answers.start, answers.root)
    inside = [f"cd {shlex.quote(folder)} && {line}" for line in tool] if folder != "." else tool
    return [f"python -m pip install {shlex.quote(answers.package)}", *inside]


def _commands(answers: Answers) -> list[str]:
    plan = shlex.quote(_path(answers))
    return [f"planrun validate {plan}", f"planrun apply {plan} --yes"]


def _saves(answers: Answers) -> bool:
    return answers.job != "refresh"


def _cron(answers: Answers) -> str:
    hour, minute = answers.at.split(":")
    return f"{int(minute)} {int(hour)} * * *"


def _github(answers: Answers) -> str:
    name = f"planrun-{answers.file.stem}"
    needs = secrets(answers)
    schedule = f'  schedule:\n    - cron: "{_cron(answers)}"  # UTC\n' if answers.job == "nightly" else ""
    env = "".join(f"      {one}: ${{{{ secrets.{one} }}}}\n" for one in needs)
    node = '      - uses: actions/setup-node@v4\n        with:\n          node-version: "22"\n'
    steps = "".join(f"          {line}\n" for line in _install(answers))
    check, run = _commands(answers)
    return f"""\
# Secrets of the repository (Settings, Secrets and variables, Actions): {", ".join(needs)}
name: {scalar(name)}
on:
{schedule}  workflow_dispatch:
permissions:
  contents: read
concurrency:
  group: {scalar(name)}
jobs:
  apply:
    runs-on: ubuntu-latest
    timeout-minutes: 120
    env:
{env}    steps:
      - uses: actions/checkout@v5
        with:
          persist-credentials: false
      - uses: actions/setup-python@v6
        with:
          python-version: "3.13"
{node if _install(answers)[-1].endswith(_NODE) else ""}\
      - name: Install
        run: |
{steps}\
      - name: Validate
        run: |
          {check}
      - name: Apply
        run: |
          {run}
{_github_artifact(answers, name) if _saves(answers) else ""}"""


def _github_artifact(answers: Answers, name: str) -> str:
    return f"""\
      # The backup is gone with the machine of the job, unless it is kept. Everybody who may read the repository may
      # read an artifact: if that is too many, copy the folder to a place of your own instead.
      - name: Keep the backup
        if: always()
        uses: actions/upload-artifact@v4
        with:
          name: {scalar(name)}
          path: {scalar(_path(answers, "backups"))}
          retention-days: 30
          if-no-files-found: ignore
"""


def _gitlab(answers: Answers) -> str:
    name = f"planrun-{answers.file.stem}"
    rules = '    - if: $CI_PIPELINE_SOURCE == "schedule"\n' if answers.job == "nightly" else ""
    lines = "".join(f"    - {_quote(line)}\n" for line in (*_install(answers), *_commands(answers)))
    artifacts = f"""\
  artifacts:
    when: always
    access: developer
    paths: [{scalar(_path(answers, "backups"))}]
    expire_in: 30 days
"""
    when = (
        f"Build, Pipeline schedules: {_cron(answers)}" if answers.job == "nightly" else "Build, Pipelines, Run pipeline"
    )
    return f"""\
# It starts by: {when}. Variables (Settings, CI/CD; masked): {", ".join(secrets(answers))}
# .gitlab-ci.yml includes it:
#   include:
#     - local: {workflow_file(answers)}
{scalar(name)}:
  image: python:3.13
  rules:
{rules}    - if: $CI_PIPELINE_SOURCE == "web"
      when: manual
  resource_group: {scalar(name)}
  script:
{lines}{artifacts if _saves(answers) else ""}"""


def _quote(line: str) -> str:
    """Return a command of a shell as a YAML scalar; one with a colon or a # needs quotes."""
    return "'" + line.replace("'", "''") + "'"
