# The project's commands. They need Python 3.11 or newer and make, nothing else: everything is installed into .venv,
# once, in the versions and with the hashes of requirements*.txt, from whatever package index pip is set up for.
#
#   make demo    an export of the sample data, from nothing to the finished file
#   make up      PostgreSQL, S3, Dagster's web server and daemon in the foreground; Ctrl-C stops them all
#   make test    all checks, then all tests
#   make check   the checks alone: style, types, imports, Dagster's definitions, docs
#   make docs    writes the generated pages of docs/
#   make bench   the benchmarks (BENCH="--rows 100000 --repeat 1" for a quick look)
#   make lock    pins the newest versions that pyproject.toml allows
#   make clean   removes .venv, caches and the demo's state

# PYTHON=python3.13 make … chooses one; else the first of these that is new enough.
PYTHON ?=
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A complete lock needs no resolving; -qq, since warnings about an index that somebody set up would hide the rest.
INSTALL := $(PIP) install -qq --no-deps --no-compile --require-hashes
# dg asks only a Dagster home whether it may send telemetry.
CHECK_HOME := .export_pipeline/check
ARGS ?=
BENCH ?=

# Bytecode that is not kept costs each of Dagster's processes seconds.
unexport PYTHONDONTWRITEBYTECODE
export DAGSTER_DISABLE_TELEMETRY := yes

.PHONY: help demo up test check docs bench lock clean install
help:
	@sed -n 's/^#   //p' Makefile

demo: .venv/runtime.stamp
	@$(BIN)/export-pipeline demo $(ARGS)

up: .venv/runtime.stamp
	@$(BIN)/export-pipeline up $(ARGS)

# A folder of the run's own: pytest's usual one is tidied up by whichever run comes next. And one in memory, where there
# is such a place, for the tests' databases.
test: check
	@folder=$$(mktemp -d) && memory=$$(mktemp -d -p /dev/shm 2>/dev/null || true) && \
	trap 'rm -rf "$$folder" "$$memory"' EXIT && trap 'exit 130' INT TERM && \
	TESTS_IN_MEMORY="$$memory" $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --basetemp="$$folder/pytest" --cov=export_pipeline $(ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@mkdir -p $(CHECK_HOME) && echo 'telemetry: {enabled: false}' >$(CHECK_HOME)/dagster.yaml
	DAGSTER_HOME="$(CURDIR)/$(CHECK_HOME)" $(BIN)/dg check defs
	$(BIN)/python -m pytest -q export_pipeline_tests/docs

docs: .venv/dev.stamp
	$(BIN)/python docs/generate.py

bench: .venv/dev.stamp
	@$(BIN)/python -m benchmarks $(BENCH)

install: .venv/dev.stamp

.venv/python.stamp:
	@set -e; found=; \
	for python in $(or $(PYTHON),$(CANDIDATES)); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Python 3.11 or newer is needed, and none of these is: $(or $(PYTHON),$(CANDIDATES)). Install one, or name yours: make PYTHON=/path/to/python3" >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$found has no venv or ensurepip module: install it (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; \
	fi; \
	"$$found" -m venv --clear .venv; \
	touch $@

.venv/runtime.stamp: .venv/python.stamp requirements.txt pyproject.toml
	@echo "Installing the pinned packages into .venv (once, about a minute) ..."
	@$(INSTALL) -r requirements.txt
	@$(PIP) install -qq --no-compile --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib export_pipeline >/dev/null || true # templates are no valid Python
	@touch $@

.venv/dev.stamp: .venv/runtime.stamp requirements-dev.txt
	@echo "Installing the pinned tools for checks and tests into .venv (once) ..."
	@$(INSTALL) -r requirements-dev.txt
	@$(BIN)/python -m compileall -qq -j 0 .venv/lib >/dev/null || true
	@touch $@

# The only target that needs uv. requirements-dev.txt holds requirements.txt's versions and the tools'.
LOCK := uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-annotate --no-header --extra embedded --group build
lock:
	$(LOCK) --output-file requirements.txt
	$(LOCK) --extra production --group dev --constraint requirements.txt --output-file requirements-dev.txt

clean:
	@if [ -x $(BIN)/export-pipeline ]; then $(BIN)/export-pipeline services stop >/dev/null 2>&1 || true; fi
	rm -rf .venv .export_pipeline .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* build dist *.egg-info
