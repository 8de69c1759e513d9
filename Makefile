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

# What can be tested without torch.
CONTROL_TESTS := $(wildcard tests/repository tests/api tests/cli tests/operator tests/charts tests/cluster)
TYPED := $(wildcard api operator runtime tests scripts bench models)
PYTEST_ARGS ?=
# Many tests wait for servers; two at a time keep two cores busy. A file's tests share their fixtures.
WORKERS ?= 2
PYTEST := -m pytest --numprocesses $(WORKERS) --dist loadfile --ignore=tests/e2e

# Its authors' note on what comes after it is no concern of a build.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(CONTROL)/bin/mkdocs

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
setup-control: $(CONTROL)/.stamp ## Make the environment of contract, operator and command line, without torch (.venv-control)

# Real programs that tests run (etcd, kube-apiserver, an S3 server, Helm) are built once, into the user's cache. Should
# that fail, the tests that need them say why.
.PHONY: test-programs
test-programs:
	-@PYTHONPATH=tests $(PYTHON) -c 'from support.tools import *; \
		[find_programs(module) for module in (KUBE, VERSITYGW, HELM, COREDNS, PROMTOOL, KUBE_SCORE)]'

# ── Tests ───────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: test
test: ## Run all tests (PYTEST_ARGS="-k name" narrows them)
	@$(MAKE) --no-print-directory --jobs=2 $(FULL)/.stamp test-programs
	$(BIN)/python $(PYTEST) $(PYTEST_ARGS)

.PHONY: test-control
test-control: ## Run the tests of contract, operator and command line; installs no torch
	@$(MAKE) --no-print-directory --jobs=2 $(CONTROL)/.stamp test-programs
	$(CONTROL)/bin/python $(PYTEST) $(CONTROL_TESTS) $(PYTEST_ARGS)

.PHONY: e2e
e2e: $(FULL)/.stamp ## Run whole jobs on a real node, made here and gone afterwards (root), or on the cluster of E2E_CONTEXT
	@$(MAKE) --no-print-directory test-programs
	$(BIN)/python -m pytest tests/e2e --log-cli-level=INFO --log-cli-format='%(asctime)s  %(message)s' \
		--log-cli-date-format=%H:%M:%S $(if $(E2E_CONTEXT),--force-enable-socket) $(PYTEST_ARGS)

.PHONY: test-lowest
test-lowest: ## Run all tests with the oldest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory --jobs=2 $(LOWEST)/.stamp test-programs
	$(LOWEST)/bin/python $(PYTEST) $(PYTEST_ARGS)

# ── Demo ────────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: demo
demo: $(FULL)/.stamp ## Make six pictures on this CPU, two processes on each, and compare with sequential ones
	@PYTHONPATH=models $(BIN)/python scripts/demo.py

# ── Checks ──────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: lint
lint: $(FULL)/.stamp ## Check style, types, layers and the docs' links
	@$(MAKE) --no-print-directory --keep-going style types layers docs

.PHONY: style
style: $(FULL)/.stamp
	$(BIN)/ruff format --check
	$(BIN)/ruff check

.PHONY: types
types: $(FULL)/.stamp
	$(BIN)/mypy $(TYPED)

.PHONY: layers
layers: $(FULL)/.stamp
	$(BIN)/lint-imports --no-cache

.PHONY: format
format: $(CONTROL)/.stamp ## Format the code and repair what ruff can repair
	$(CONTROL)/bin/ruff check --fix
	$(CONTROL)/bin/ruff format

# ── Docs ────────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: docs
docs: $(CONTROL)/.stamp ## Build the documentation into site/
	$(MKDOCS) build --quiet

.PHONY: docs-serve
docs-serve: $(CONTROL)/.stamp ## Show the documentation at 127.0.0.1:8000, and again whenever it changes
	$(MKDOCS) serve --dev-addr 127.0.0.1:8000

# ── Generated files ─────────────────────────────────────────────────────────────────────────────────────────

.PHONY: generate
generate: $(CONTROL)/.stamp ## Write the files that are made from code: resource definition, reference pages
	$(CONTROL)/bin/python scripts/generate.py

.PHONY: check-generated
check-generated: $(CONTROL)/.stamp ## Fail where a generated file is not up to date
	$(CONTROL)/bin/python scripts/generate.py --check

.PHONY: lock
lock: ## Resolve the requirements again (network); LOCK_ARGS="--upgrade" takes the newest versions
	$(LOCK) $(LOCK_ARGS) --all-extras pyproject.toml --output-file locks/full.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt --extra operator pyproject.toml --output-file locks/operator.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt --extra runtime pyproject.toml --output-file locks/runtime.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt --extra operator --extra dev pyproject.toml --output-file locks/dev.txt
	$(LOCK) $(LOCK_ARGS) --resolution lowest-direct --all-extras pyproject.toml --output-file locks/lowest.txt
	$(LOCK) $(LOCK_ARGS) locks/uv.in --output-file locks/uv.txt
	$(LOCK) $(LOCK_ARGS) --constraint locks/full.txt locks/build.in --output-file locks/build.txt

.PHONY: clean
clean: ## Remove environments, caches and what was built
	rm -rf $(FULL) $(CONTROL) $(LOWEST) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache site dist
