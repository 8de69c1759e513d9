# `make` lists the targets. Each sets up what it needs; nothing is installed outside of this folder.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

export PYTHON ?= python3
FULL := .venv
CONTROL := .venv-control
LOWEST := .venv-lowest
BIN := $(FULL)/bin
CONTROL_BIN := $(CONTROL)/bin

# Tests of what runs without torch, in the order in which they fail fastest.
CONTROL_TESTS := $(wildcard tests/repository tests/api tests/cli tests/operator tests/cluster)
PYTEST_ARGS ?=

LOCK := scripts/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ── Environments ────────────────────────────────────────────────────────────────────────────────────────────
# A stamp is newer than the lock that its environment was made from; an unchanged lock costs nothing.

$(FULL)/.stamp: locks/full.txt pyproject.toml scripts/environment scripts/uv
	@scripts/environment $(FULL) $<
	@touch $@

$(CONTROL)/.stamp: locks/dev.txt pyproject.toml scripts/environment scripts/uv
	@scripts/environment $(CONTROL) $<
	@touch $@

$(LOWEST)/.stamp: locks/lowest.txt pyproject.toml scripts/environment scripts/uv
	@scripts/environment $(LOWEST) $<
	@touch $@

.PHONY: setup
setup: $(FULL)/.stamp ## Make the environment of everything, torch included (.venv)

.PHONY: setup-control
setup-control: $(CONTROL)/.stamp ## Make the environment of contract, operator and CLI, without torch (.venv-control)

# ── Tests ───────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: test
test: $(FULL)/.stamp ## Run all tests (PYTEST_ARGS="-k name" narrows them)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: test-control
test-control: $(CONTROL)/.stamp ## Run the tests of contract, operator and CLI; installs no torch
	$(CONTROL_BIN)/python -m pytest $(CONTROL_TESTS) $(PYTEST_ARGS)

.PHONY: test-lowest
test-lowest: $(LOWEST)/.stamp ## Run all tests with the oldest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest $(PYTEST_ARGS)

# ── Checks ──────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: lint
lint: $(FULL)/.stamp ## Check style, types, layers and links of the docs
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(CONTROL)/.stamp ## Format the code and repair what ruff can repair
	$(CONTROL_BIN)/ruff check --fix
	$(CONTROL_BIN)/ruff format

# ── Generated files ─────────────────────────────────────────────────────────────────────────────────────────

.PHONY: lock
lock: ## Resolve the requirements again (network); LOCK_ARGS="--upgrade" takes the newest versions
	$(LOCK) $(LOCK_ARGS) --all-extras pyproject.toml --output-file locks/full.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt --extra operator pyproject.toml --output-file locks/operator.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt --extra runtime pyproject.toml --output-file locks/runtime.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt --extra operator --extra dev pyproject.toml --output-file locks/dev.txt
	$(LOCK) $(LOCK_ARGS) --resolution lowest-direct --all-extras pyproject.toml --output-file locks/lowest.txt
	$(LOCK) $(LOCK_ARGS) locks/uv.in --output-file locks/uv.txt

.PHONY: clean
clean: ## Remove environments, caches and what was built
	rm -rf $(FULL) $(CONTROL) $(LOWEST) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site dist
