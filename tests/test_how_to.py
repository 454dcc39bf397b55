"""What the how-to pages give to be copied: each file passes the checker of its kind."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "how-to").glob("*.md"))
FILE = re.compile(r"^`([^`\n]+)`[^`\n]*:\n\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = {name: (language, text) for page in PAGES for name, language, text in FILE.findall(page.read_text())}
"""The files that the pages name, with the language of the block and the text."""

SHELLCHECK = shutil.which("shellcheck", path=Path(sys.executable).parent)


def of(language: str) -> list[str]:
    return [name for name, (found, _) in FILES.items() if found == language]


def test_the_pages_give_these_files() -> None:
    assert len(of("sh")) == 2 and len(of("ini")) == 3 and len(of("yaml")) == 4 and len(FILES) == 10


def shellcheck(text: str, *options: str) -> str:
    assert SHELLCHECK, "make .venv/.dev installs it"
    argv = [SHELLCHECK, *options, "-"]
    return subprocess.run(argv, input=text, capture_output=True, text=True).stdout


@pytest.mark.parametrize("name", of("sh"))
def test_a_script_has_no_faults(name: str) -> None:
    assert shellcheck(FILES[name][1]) == ""


def test_a_script_with_a_fault_would_be_noticed() -> None:
    assert "SC2086" in shellcheck("#!/bin/sh\nrm $1\n")


# ------------------------------------------------------------------ cron


def nightly(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Run the script of the cron page in a folder of its own, with a plan of one query."""
    (folder / "nightly.yml").write_text("steps: [{id: look, uses: query, with: {text: select 1 as n}}]\n")
    text = FILES["/usr/local/bin/planrun-nightly"][1]
    for there, here in (
        ("/opt/planrun/bin/planrun", str(Path(sys.executable).parent / "planrun")),
        ("/etc/planrun/nightly.yml", str(folder / "nightly.yml")),
        ("/var/log/planrun", str(folder)),
    ):
        assert there in text
        text = text.replace(there, here)
    env = {"PATH": "/usr/bin:/bin", "DATABASE_URL": url, "PLANRUN_STATE_DIR": str(folder / "state")}
    return subprocess.run(["/bin/sh", "-c", text], env=env, capture_output=True, text=True)


def test_the_script_for_cron_says_nothing_unless_a_person_has_to_look(db: str, tmp_path: Path) -> None:
    done = nightly(tmp_path, db)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (log,) = tmp_path.glob("nightly-*.log")
    assert "look" in log.read_text()
    done = nightly(tmp_path, "postgresql://127.0.0.1:1/shop")
    assert done.returncode == 4 and "ended with exit code 4" in done.stdout and "connect" in done.stdout


NUMBERS = {"minute": 59, "hour": 23, "day": 31, "month": 12, "weekday": 7}
"""The fields of a line and the highest number of each (crontab(5))."""


def test_the_crontab_is_one() -> None:
    lines = FILES["/etc/cron.d/planrun"][1].splitlines()
    settings = [line for line in lines if re.fullmatch(r"[A-Z]+=\S+", line)]
    (job,) = [line for line in lines if line not in settings]
    *when, user, command = job.split(maxsplit=6)
    assert len(when) == len(NUMBERS) and user == "planrun" and command in FILES
    for field, highest in zip(when, NUMBERS.values(), strict=True):
        assert field == "*" or int(field) <= highest
    assert "%" not in job, "which means a line break"


# ------------------------------------------------------------------ systemd

KEYS = {
    "Unit": {"Description", "Documentation", "Wants", "After", "OnFailure"},
    "Timer": {"OnCalendar", "RandomizedDelaySec", "Persistent"},
    "Install": {"WantedBy"},
    "Service": {"Type", "User", "Environment", "ExecStart", "StateDirectory", "TimeoutStartSec", "KillMode"}
    | {"TimeoutStopSec", "NoNewPrivileges", "PrivateTmp", "ProtectHome", "ProtectSystem", "ReadWritePaths"},
}
"""The keys of systemd.unit(5), systemd.timer(5), systemd.service(5) and systemd.exec(5) that the files use."""


def test_the_units_have_only_keys_that_systemd_knows(tmp_path: Path) -> None:
    for name in of("ini"):
        unit = configparser.ConfigParser(interpolation=None, strict=True, delimiters="=")
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(FILES[name][1])
        assert [f"{part}.{key}" for part in unit.sections() for key in unit[part] if key not in KEYS[part]] == []
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", FILES[name][1], flags=re.MULTILINE)
        (tmp_path / Path(name).name.replace("@", "@x")).write_text(text)
    if verify := shutil.which("systemd-analyze"):  # it says more, where it is
        argv = [verify, "verify", "--man=no", *map(str, tmp_path.iterdir())]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------ YAML


@pytest.mark.parametrize("name", of("yaml"))
def test_a_file_is_yaml_without_keys_that_come_twice(name: str) -> None:
    documents = [*yaml.compose_all(FILES[name][1])]
    assert documents and not [key for one in documents for key in repeated(one)]


def repeated(node: Any) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from {key for key in keys if keys.count(key) > 1}
        for _, value in node.value:
            yield from repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from repeated(value)


FIELDS = """
apiVersion kind metadata name data spec accessModes resources requests storage schedule timeZone concurrencyPolicy
startingDeadlineSeconds successfulJobsHistoryLimit failedJobsHistoryLimit jobTemplate backoffLimit activeDeadlineSeconds
template restartPolicy terminationGracePeriodSeconds automountServiceAccountToken securityContext runAsNonRoot runAsUser
runAsGroup fsGroup seccompProfile type containers image args env valueFrom secretKeyRef key value cpu memory limits
allowPrivilegeEscalation readOnlyRootFilesystem capabilities drop volumeMounts mountPath readOnly volumes configMap
persistentVolumeClaim claimName emptyDir nightly.yml
"""
"""The fields of the kinds that the manifests use, in the API of Kubernetes 1.31, and the file in the ConfigMap."""


def names(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from value
    for one in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from names(one)


def test_the_manifests_use_fields_of_kubernetes_and_fit_together() -> None:
    config, claim, job = yaml.safe_load_all(FILES["planrun.yml"][1])
    assert {name for one in (config, claim, job) for name in names(one)} <= set(FIELDS.split())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["plans"]["configMap"]["name"] == config["metadata"]["name"]
    assert volumes["backups"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_plan_in_the_manifests_validates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = next(yaml.safe_load_all(FILES["planrun.yml"][1]))
    (tmp_path / "nightly.yml").write_text(config["data"]["nightly.yml"])
    assert main(["validate", str(tmp_path / "nightly.yml")]) == 0, capsys.readouterr().err


def scripts() -> Iterator[tuple[str, str]]:
    """Yield the shell scripts in the pipelines, each with the shell that runs it."""
    github = yaml.safe_load(FILES[".github/workflows/apply.yml"][1])
    for job in github["jobs"].values():
        yield from (("bash", step["run"]) for step in job["steps"] if "run" in step)
    for job in yaml.safe_load(FILES[".gitlab-ci.yml"][1]).values():
        for part in ("before_script", "script", "after_script"):
            yield from (("sh", line) for line in job.get(part, ()))


def test_the_scripts_of_the_pipelines_have_no_faults_and_contain_no_expression() -> None:
    found = [*scripts()]
    assert len(found) > 8
    for shell, text in found:
        assert shellcheck(text, f"--shell={shell}") == "", text
        assert "${{" not in text, "an expression in a script is code of whoever wrote its value"


def test_the_pipelines_are_what_their_services_read() -> None:
    """Keys as in schemastore's schemas for workflows and for .gitlab-ci.yml, against which they were validated."""
    github = yaml.safe_load(FILES[".github/workflows/apply.yml"][1])
    assert {*github} == {"name", True, "permissions", "concurrency", "jobs"}  # YAML 1.1 reads `on` as true
    allowed = {"needs", "if", "runs-on", "environment", "timeout-minutes", "steps"}
    assert all({*job} <= allowed for job in github["jobs"].values())
    assert github["concurrency"]["cancel-in-progress"] is False
    gitlab = yaml.safe_load(FILES[".gitlab-ci.yml"][1])
    assert gitlab["apply"]["interruptible"] is False and gitlab["apply"]["resource_group"]


def test_the_compose_file_runs_with_few_rights() -> None:
    compose = yaml.safe_load(FILES["compose.yml"][1])
    assert {*compose} == {"services", "volumes"} and compose["services"]["planrun"]["read_only"] is True
