"""`planrun init`: what it writes passes every check, and it writes all of it or nothing."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import string
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import click
import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runner.cli import COMMANDS, group, main
from runner.cli.init import surroundings, units, writing
from runner.cli.init.plans import scalar
from runner.errors import PlanrunError
from tests.person import COMMAND, start_person

ROOT = Path(__file__).parents[2]
SCHEMAS = resources.files("check_jsonschema.builtin_schemas.vendor")


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a repository, in whose name are characters that shells and systemd treat in their own way."""
    folder = tmp_path / "my $shop 100%"
    (folder / ".git").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def init(capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    return Said(main(["init", *words]), *capsys.readouterr())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


EVERY = {
    "migration": ["--job", "migration", "--command", "npx drizzle-kit migrate"],
    "other migration": ["--job", "migration", "--command", "./migrate -c 'a: b' --yes no", "--target", "prod"],
    "refresh": ["--job", "refresh", "--yes"],
    "refresh of a schema": ["--job", "refresh", "--source", "staging", "--target", "prod", "--schema", "Shop",
                            "--preserve", "Users, other.sessions", "-o", "deep/plans/prod.yml"],
    "nightly": ["--job", "nightly", "--systemd"],
    "nightly of some": ["--job", "nightly", "--target", "yes", "--tables", "Audit.*_x?", "--at", "23:05", "--systemd"],
}  # fmt: skip


@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize("words", EVERY.values(), ids=EVERY)
def test_what_it_writes_passes_every_check(
    words: list[str], ci: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = init(capsys, *words, "--ci", ci)
    assert said.code == 0, said
    plan = next(line.strip() for line in said.out.splitlines() if line.endswith(".yml"))
    case = str(Path(plan).parent / "tests" / Path(plan).name)
    for command in (["validate", plan], ["lint", plan], ["fmt", "--check", plan, case]):
        assert main(command) == 0, capsys.readouterr().err
    for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text()):
        found = [name for name in files(home) if re.search(hook["files"], name)]
        found = [name for name in found if hook["id"] != "planrun-lint" or "tests" not in name]
        assert main([*shlex.split(hook["entry"])[1:], *found]) == 0, capsys.readouterr().err
    _check_workflow(home, ci)
    _check_commands(said.out, plan)


def _check_workflow(home: Path, ci: str) -> None:
    name = {"github": "github-workflows", "gitlab": "gitlab-ci"}[ci]
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    made = [home / one for one in files(home) if one.startswith((".github", ".gitlab"))]
    assert len(made) == {"github": 1, "gitlab": 2}[ci]
    for file in made:
        read = yaml.safe_load(file.read_text())
        data = {"on" if key is True else key: value for key, value in read.items()}  # which YAML 1.1 takes for true
        jsonschema.validate(data, schema)
        for line in _shell_lines(data, ci):
            subprocess.run(["sh", "-n", "-c", line], check=True)


def _shell_lines(data: dict[str, Any], ci: str) -> list[str]:
    if ci == "github":
        return [step["run"] for step in data["jobs"]["apply"]["steps"] if "run" in step]
    return [line for job in data.values() if "script" in job for line in job["script"]]


def _check_commands(out: str, plan: str) -> None:
    """Check that the printed commands exist, and name the plan."""
    typed = re.findall(r"^  planrun (.*?) +#", out, re.MULTILINE)
    words = [shlex.split(line) for line in typed]
    assert [one[0] for one in words] == ["doctor", "validate", "test", "diff", "apply"]
    assert {one[1] for one in words} == {plan}
    assert all(group.get_command(click.Context(group), one[0]) and one[0] in COMMANDS for one in words)


def test_the_first_plan_of_the_readme_is_what_it_writes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "README.md").read_text().partition("## Your first plan")[2].partition("## ")[0]
    commands = [shlex.split(line, comments=True) for line in re.findall(r"^\$ planrun (.*)$", page, re.MULTILINE)]
    assert [one[0] for one in commands] == ["init", "doctor", "diff", "apply", "backups"]
    (home / "drizzle.config.ts").touch()
    assert main(commands[0]) == 0
    assert all("plans/migration.yml" in one and (home / "plans/migration.yml").is_file() for one in commands[1:])
    assert "next:\n  planrun doctor plans/migration.yml " in capsys.readouterr().out


def test_the_units_start_the_plan(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(capsys, "--job", "nightly", "--systemd", "--at", "02:30", "-o", "plans/of all.yml").code == 0
    service, timer = (configparser.RawConfigParser(strict=False) for _ in range(2))
    service.read("systemd/planrun-of-all.service")
    timer.read("systemd/planrun-of-all.timer")
    line = service["Service"]["ExecStart"].replace("%%", "%").replace("$$", "$")
    assert shlex.split(line)[-3:] == ["apply", str(home / "plans" / "of all.yml"), "--yes"]
    assert timer["Timer"]["OnCalendar"] == "*-*-* 02:30:00"
    if verify := shutil.which("systemd-analyze"):
        units = sorted(map(str, (home / "systemd").iterdir()))
        done = subprocess.run([verify, "verify", "--man=no", *units], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_overwritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "plans" / "tests").mkdir(parents=True)
    (home / "plans" / "tests" / "nightly.yml").write_text("mine")
    (home / "plans" / "plan.schema.json").write_text("mine")
    said = init(capsys, "--job", "nightly")
    assert (said.code, said.out) == (64, "")
    assert "already there: plans/tests/nightly.yml\n  hint: nothing was written" in said.err
    assert files(home) == ["plans/plan.schema.json", "plans/tests/nightly.yml"]


@pytest.mark.parametrize("ended", [OSError(28, "No space left on device", "b/c"), KeyboardInterrupt()])
def test_a_failure_leaves_no_file(ended: BaseException, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.mkdir

    def fail(self: Path, **words: Any) -> None:
        if self.name == "c":
            raise ended
        whole(self, **words)

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(KeyboardInterrupt if isinstance(ended, KeyboardInterrupt) else PlanrunError):
        writing.write_all({home / "a" / "one": "1", home / "a" / "b" / "two": "2", home / "c" / "three": "3"})
    assert list(home.iterdir()) == [home / ".git"]


def test_a_folder_that_cannot_be_made_is_an_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "plans").write_text("a file")
    said = init(capsys, "--job", "nightly")
    assert (said.code, files(home)) == (1, ["plans"])
    assert "PR1143" in said.err
    assert "nothing was written" in said.err


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ([], "--job is missing"),
        (["--yes"], "--job is missing"),
        (["--job", "refresh"], "--source and --target are missing"),
        (["--job", "refresh", "--source", "staging"], "--target is missing"),
        (["--job", "migration", "--yes"], "--command is missing"),
    ],
)
def test_without_a_terminal_it_says_which_options_are_missing(
    words: list[str], missing: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = init(capsys, *words)
    assert (said.code, files(home)) == (64, [])
    assert missing in said.err
    hint = said.err.partition("hint: ")[2].partition(";")[0]
    assert main(shlex.split(hint)[1:]) == 0, "what it proposes works"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--job", "nihgtly"], "one of migration, refresh, nightly"),
        (["--job", "nightly", "--target", "postgresql://app:s3cret@db1/shop"], "a URL may hold a password"),
        (["--job", "nightly", "--target", "host=db1 password=s3cret"], "a URL may hold a password"),
        (["--job", "nightly", "--target", "a b"], "the name of a service"),
        (["--job", "nightly", "--tables", "a; drop"], "a pattern is written as"),
        (["--job", "nightly", "--at", "3am", "--systemd"], "a time is written as 03:00"),
        (["--job", "nightly", "--ci", "jenkins"], "one of none, github, gitlab"),
        (["--job", "nightly", "--ci", "github", "--package", "a' 'b"], "what pip installs"),
        (["--job", "nightly", "--source", "a"], "--source belongs to the job refresh"),
        (["--job", "refresh", "--yes", "--systemd"], "--systemd belongs to the job nightly"),
        (["--job", "refresh", "--yes", "--preserve", "a,b c'd"], "a table is written as"),
        (["--job", "migration", "--command", "a 'b"], "no closing quotation"),
    ],
)
def test_a_wrong_option_is_refused_without_repeating_a_secret(
    words: list[str], problem: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = init(capsys, *words)
    assert (said.code, files(home)) == (64, [])
    assert problem in said.err
    assert "s3cret" not in said.err


def test_a_person_is_asked_what_the_job_needs(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").touch()
    (tmp_path / ".env").write_text("# the database\nDATABASE_URL=postgresql://app@db1/shop\n")
    with start_person(tmp_path, COMMAND, "init", PGSERVICEFILE="none") as person:
        for question, answer in (
            ("Which job .1.: ", "4"), ("one of migration, refresh, nightly\nWhich job .1.: ", ""),
            ("Target .env.: ", "postgresql://app:s3cret@db1/shop"), ("a URL may hold .*\nTarget .env.: ", ""),
            ("Command .alembic upgrade head.: ", ""), ("Workflow .none.: ", ""),
        ):  # fmt: skip
            person.sees(question)
            person.types(f"{answer}\n".encode())
        person.sees("first, say which database:\n  set -a; . ./.env; set \\+a\n")
        person.sees("planrun apply plans/migration.yml")
        assert person.ends() == 0
    assert "default: [alembic, upgrade, head]" in (tmp_path / "plans" / "migration.yml").read_text()


def test_ctrl_c_at_a_question_leaves_nothing(tmp_path: Path) -> None:
    with start_person(tmp_path, COMMAND, "init", PGSERVICEFILE="none") as person:
        person.sees("Which job .1.: ")
        person.types(b"3\n")
        person.sees("Target .env.: ")
        person.types(b"\x03")
        assert person.ends() == 130
        assert "no file was written" in person.text
    assert files(tmp_path) == []


# ------------------------------------------------------------------ what is around


@pytest.mark.parametrize(
    ("file", "argv"),
    [
        ("drizzle.config.ts", "npx drizzle-kit migrate"),
        ("alembic.ini", "alembic upgrade head"),
        ("manage.py", "python manage.py migrate"),
        ("prisma/schema.prisma", "npx prisma migrate deploy"),
        ("readme", ""),
    ],
)
def test_the_migration_tool_is_found_by_its_file(file: str, argv: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    assert surroundings.find_migration(tmp_path) == tuple(argv.split())


def test_services_are_those_of_the_file_of_libpq(tmp_path: Path) -> None:
    (tmp_path / ".pg_service.conf").write_text("[prod]\nhost=db1\npassword=x\n# [old]\n[staging]\n")
    assert surroundings.find_services({}, tmp_path) == ["prod", "staging"]
    assert surroundings.find_services({"PGSERVICEFILE": str(tmp_path / "none")}, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("DATABASE_URL=postgresql://app@db1/shop\n", True),
        ("export DATABASE_URL='postgresql://app@db1/shop?a=1&b=2'\n", True),
        ("DATABASE_URL=postgresql://app@db1/shop?a=1&b=2\n", False),
        ("A=1\nDATABASE_URL=$(cat /etc/passwd)\n", False),
        ("A=1\n", False),
    ],
)
def test_a_dotenv_file_is_proposed_only_if_a_shell_reads_it_alike(text: str, plain: bool, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(text)
    assert surroundings.dotenv_has_url(tmp_path) is plain


def test_the_package_of_a_workflow_is_where_planrun_was_installed_from() -> None:
    origin = {"url": "https://me:s3cret@git.example.org/o/planrun.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}}
    assert surroundings.package_of(origin) == (
        "planrun[embedded] @ git+https://git.example.org/o/planrun.git@ab12",
        True,
    )
    assert surroundings.package_of({"url": "file:///src", "dir_info": {}})[1] is False


ALPHABET = st.text(string.digits + string.ascii_letters + string.punctuation + " é漢")


@given(ALPHABET)
def test_a_text_in_a_plan_means_itself(text: str) -> None:
    assert yaml.safe_load(f"[{scalar(text)}]") == [text]


@given(ALPHABET)
def test_a_word_of_a_unit_means_itself(text: str) -> None:
    """As systemd reads it: specifiers and variables by doubling, then quotes and backslashes."""
    word = units.quote(text).replace("%%", "%").replace("$$", "$")
    assert shlex.split(word) == ([text] if text else [])
