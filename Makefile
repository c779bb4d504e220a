# Indrik's commands for people. `make` alone lists them. Everything is installed into .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
APP ?= fastapi_app:app
BIND ?= 127.0.0.1:8000
PYTEST_ARGS ?=
SUITES_ARGS ?=
CHAOS ?= bounded
CHAOS_ARGS ?=
SEED ?=
SEEDS ?=
PYTHONS ?= python3.10 python3.12 python3.13

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# One profile for lints, tests and the extension under test: what one builds, the next finds.
PROFILE := fast
# One interpreter for every build, or cargo would build pyo3 again for each.
export PYO3_PYTHON := $(BIN)/python
NATIVE_SOURCES := $(shell find crates settings.toml metrics.toml Cargo.toml Cargo.lock pyproject.toml \
	-type f \( -name '*.rs' -o -name '*.toml' -o -name Cargo.lock \))
HAS_NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help serve build pgo test test-rust test-loom test-python test-pythons test-oracle test-suites check check-rust check-python format bench chaos simulate

help:
	@echo 'make serve [APP=flask_app:app] [BIND=127.0.0.1:8000]   build, install, serve an example'
	@echo 'make build    release build into .venv (.venv/bin/indrik)'
	@echo 'make pgo      the same with a profile of the hot paths, as a release has it; what make bench measures'
	@echo 'make test     every test: Rust, loom, Python end to end'
	@echo 'make test-pythons [PYTHONS="python3.10 ..."]   build and try the wheel with other Pythons'
	@echo 'make test-oracle   the compatibility tests, against Gunicorn itself'
	@echo "make test-suites   Autobahn's whole suite; Gunicorn's own test suites, against both (downloads them)"
	@echo 'make check    format, lints, types, tidy'
	@echo 'make format   let the formatters mend what they can'
	@echo 'make chaos    faults under load, about five minutes (CHAOS=full: the whole bars, most of an hour)'
	@echo 'make simulate [SEED=n] [SEEDS=n]   the simulations: all, one seed again, or so many'
	@echo 'make bench    measure against the peers; results in bench/results'

# --- the virtual environment; each stamp says what is installed -----------------------------------

$(VENV)/.created:
	@echo '== creating .venv with $(PYTHON)'
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or later is needed; set PYTHON=...") \
		if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade 'pip>=23'
	touch $@

$(VENV)/.maturin: $(VENV)/.created
	$(PIP) 'maturin>=1.9,<2'
	touch $@

$(VENV)/.examples: examples/requirements.txt $(VENV)/.created
	@echo '== installing the frameworks of the examples'
	$(PIP) -r examples/requirements.txt
	touch $@

$(VENV)/.tests: tests/requirements.txt $(VENV)/.created
	@echo '== installing what the tests need'
	$(PIP) -r tests/requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.created
	@echo '== installing linters and type checker'
	$(PIP) -r requirements-dev.txt
	touch $@

# --- building -------------------------------------------------------------------------------------
# .release: the installed build is a release build. .built: some build is installed and fresh.

MATURIN := cd $(CURDIR) && VIRTUAL_ENV=$(VENV) $(BIN)/maturin develop --locked

$(VENV)/.release: $(NATIVE_SOURCES) $(VENV)/.maturin
	@echo '== building Indrik in release (minutes the first time)'
	$(MATURIN) --release
	rm -f $(VENV)/.pgo
	touch $(VENV)/.built $@

$(VENV)/.built: $(NATIVE_SOURCES) $(VENV)/.maturin
	@echo '== building Indrik for tests'
	$(MATURIN) --profile $(PROFILE)
	rm -f $(VENV)/.release $(VENV)/.pgo
	touch $@

# The same with a profile of the hot paths; twice the time. It takes the place of the release build.
$(VENV)/.pgo: $(NATIVE_SOURCES) bench/pgo.py $(VENV)/.maturin
	@echo '== building Indrik in release, with a profile of its hot paths (twice the time)'
	$(BIN)/python bench/pgo.py
	touch $(VENV)/.built $(VENV)/.release $@

build: $(VENV)/.release
	@echo 'built: .venv/bin/indrik'

serve: $(VENV)/.release $(VENV)/.examples
	@echo
	@echo '  serving examples/$(APP) at http://$(BIND)/   (Ctrl-C stops)'
	@echo '  try:  curl http://$(BIND)/json'
	@echo '        curl -N "http://$(BIND)/events?count=3&pause=1"'
	@echo '  the other applications and endpoints: examples/README.md'
	@echo
	exec $(BIN)/indrik --bind $(BIND) --chdir examples --access-logfile - $(APP)

# --- checking -------------------------------------------------------------------------------------

test: test-rust test-loom test-python

test-rust: $(VENV)/.created
	@echo '== Rust tests'
ifeq ($(HAS_NEXTEST),yes)
	cargo nextest run --workspace --locked --cargo-profile $(PROFILE) --no-fail-fast --status-level fail
else
	@echo '(cargo-nextest is not installed: cargo test instead)'
	cargo test --workspace --locked --profile $(PROFILE) --all-targets --no-fail-fast --quiet
endif

test-loom:
	@echo '== loom: every interleaving of the channel, bounded'
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=target/loom \
		cargo test --package indrik-ring --profile $(PROFILE) --locked --lib

test-python: $(VENV)/.built $(VENV)/.examples $(VENV)/.tests
	@echo '== Python tests: the real server and real clients'
	@for program in $(SYSTEM_PROGRAMS); do \
		command -v $$program >/dev/null || $(MAKE) --no-print-directory $$program; done
	$(BIN)/python -m pytest tests $(PYTEST_ARGS)

# The tests state what Gunicorn does; this asks Gunicorn. It comes with tests/requirements.txt. What fails is tried once
# more: a signal that Gunicorn loses while it boots is its own.
test-oracle: $(VENV)/.tests $(VENV)/.examples
	@echo '== compatibility tests against Gunicorn'
	INDRIK_TEST_COMMAND=$(BIN)/gunicorn $(BIN)/python -m pytest tests/compat $(PYTEST_ARGS) || \
	INDRIK_TEST_COMMAND=$(BIN)/gunicorn $(BIN)/python -m pytest tests/compat $(PYTEST_ARGS) --last-failed

# Its own environment and downloads lie in target/oracle. nginx, if there is one, serves the proxy tests.
test-suites: $(VENV)/.built $(VENV)/.tests
	AUTOBAHN=whole $(BIN)/python -m pytest tests/protocol/test_autobahn.py
	$(BIN)/python tests/oracle/run_suites.py $(SUITES_ARGS)

test-pythons: $(VENV)/.built $(VENV)/.examples $(VENV)/.tests
	tests/pythons.sh $(PROFILE) $(PYTHONS)

# Programs of the system that some tests run.
SYSTEM_PROGRAMS := slowhttptest prometheus chromium tmux

# What is recommended with it would start a service.
prometheus: APT_FLAGS := --no-install-recommends

.PHONY: $(SYSTEM_PROGRAMS)
$(SYSTEM_PROGRAMS):
	@echo '$@ is missing: installing it (apt)'
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get install --quiet --yes $(APT_FLAGS) $@ >/dev/null || \
		{ apt-get update --quiet >/dev/null && \
		  apt-get install --quiet --yes $(APT_FLAGS) $@ >/dev/null; } || \
		echo 'could not install $@: its tests will be skipped'; \
	else echo 'cannot (not root, or no apt): its tests will be skipped'; fi

check: check-rust check-python

check-rust: $(VENV)/.created
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --profile $(PROFILE) -- -D warnings
	cargo xtask tidy
	cargo xtask settings --check
	cargo xtask metrics --check

check-python: $(VENV)/.dev $(VENV)/.examples $(VENV)/.tests
	$(BIN)/ruff check python tests examples bench
	$(BIN)/ruff format --check python tests examples bench
	$(BIN)/mypy --strict python/indrik
	$(BIN)/mypy --strict examples
	$(BIN)/mypy tests/support tests/apps

format: $(VENV)/.dev
	cargo fmt --all
	$(BIN)/ruff check --fix --quiet python tests examples bench
	$(BIN)/ruff format --quiet python tests examples bench

pgo: $(VENV)/.pgo
	@echo 'built with a profile: .venv/bin/indrik'

bench: $(VENV)/.pgo
	$(BIN)/python bench/run.py

# Reloads, deaths, stuck requests, upgrades and stops under a load that checks every answer: bench/chaos/README.md.
chaos: $(VENV)/.built $(VENV)/.examples $(VENV)/.tests
	$(BIN)/python bench/chaos/run.py $(if $(filter full,$(CHAOS)),--full) $(CHAOS_ARGS)

# The simulations of supervisor and dispatcher. A seed that failed is named in the failure; it replays exactly.
simulate: $(VENV)/.created
	INDRIK_SIM_SEED='$(SEED)' INDRIK_SIM_SEEDS='$(SEEDS)' cargo test --package indrik-core --profile $(PROFILE) --locked --test '*_sim'
