# Every target stands alone: what it needs is installed first, and once. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTED := not slow and not gpu and not browser and not postgres

.DEFAULT_GOAL := help
.PHONY: help install install-dev install-docs demo real test test-browser test-postgres lint docs

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## make .venv with heed in it, every room's packages too
install-dev: $(VENV)/.installed-dev  ## and what tests and linters need
install-docs: $(VENV)/.installed-docs  ## and what the documentation needs

demo: install  ## a language model balances two objectives, an agent looks before it leaps; with a report
	$(BIN)/heed demo

real: install  ## a real model and people's judgements; a night on 2 cores, minutes on a GPU (ARGS="--size quick")
	$(BIN)/pip install -c $(VENV)/constraints.txt -e ".[real]"
	$(BIN)/heed demo --real $(ARGS)

test: lint  ## lint, types, import direction, doctests, tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "$(TESTED)"

test-browser: install-dev  ## the pages in Debian's chromium; at length: pytest -m "browser and slow" tests/browser/test_scripted_person.py
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "browser and not slow" tests/browser

test-postgres: install-dev  ## the store on a PostgreSQL of its own (Debian's), or on HEED_TEST_POSTGRES=postgresql://...
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "postgres and not slow" tests

lint: install-dev  ## ruff, mypy, import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install-docs  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A stamp tells that .venv holds what pyproject.toml and constraints.txt say; the source itself is installed editable.
# torch comes first and by itself, so that a torch that is already there (a GPU image's) is kept: nothing constrains it
# afterwards but pyproject.toml's lower bound.

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(BIN)/python
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/pip install -c constraints.txt torch
	touch $@

$(VENV)/constraints.txt: constraints.txt $(VENV)/.torch
	grep -v '^torch==' $< > $@

$(VENV)/.installed: pyproject.toml $(VENV)/constraints.txt
	$(BIN)/pip install -c $(VENV)/constraints.txt -e ".[all]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -c $(VENV)/constraints.txt -e ".[dev]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install -c $(VENV)/constraints.txt -e ".[docs]"
	touch $@
