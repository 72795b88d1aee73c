# The commands of this tree. Each makes .venv first when it is missing or out of date; `make` lists them.
# PYTHON=python3.12 chooses the interpreter, ARGS="-k join" goes to pytest.

ifeq ($(OS),Windows_NT)
$(error fanfold runs on Linux and macOS; on Windows use WSL)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test check bench simulate proof lint venv lock clean

PYTHON ?=
SEEDS ?= 2000
SEED ?=
ARGS ?=
RUN := .venv/bin/python -m
# The floors that answer within seconds; a folder counts from the moment it exists.
FAST := $(wildcard $(addprefix tests/,house docs model store engine worker))

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' Makefile

demo: venv ## merge customers from real CSV files, with a progress bar
	@$(RUN) examples.customer_merge.demo

test: lint ## what CI runs: format, lint, types, floors, and every test (minutes)
	$(RUN) pytest tests $(ARGS)

check: lint ## the same with the fast tests only (under a minute)
	$(RUN) pytest $(FAST) $(ARGS)

bench: venv ## measure throughput on this machine
	@$(RUN) benchmarks

simulate: venv ## run the engine under seeded faults: SEEDS=2000, or SEED=n with a readable trace
	@$(RUN) tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

proof: venv ## the long proof of the guarantees (an hour or more)
	@$(RUN) tests.proof

lint: venv
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports --no-logo

venv:
	@python=$$(PYTHON="$(PYTHON)" scripts/find-python) && "$$python" scripts/build_venv.py

lock: ## pin the dependencies again (ARGS=--upgrade for newer ones)
	PYTHON="$(PYTHON)" scripts/lock $(ARGS)

clean: ## remove .venv and all caches
	rm -rf .venv .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests examples benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
