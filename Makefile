# make demo   the whole way for AlPO4, from crystal to verdict
# make test   lint, types, tests and the documentation
# make docs   the documentation, in build/docs
# All set up .venv first. Nothing outside this folder is touched.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: demo test lint types check docs install install-dev constraints clean

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that really starts and is new enough; say `make PYTHON=... test` for another one.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
STUDY := examples/alpo4/study.yaml
TYPED := $(addprefix -p surfshift.,structures analysis workflows hpc_templates)

SOURCES := $(shell find structures analysis workflows hpc_templates -type f -not -path '*/__pycache__/*' -not -name '*.pyc')
# Changes when a file is added or removed, not when one is edited: the install links to every file by name.
FILE_LIST := $(shell printf '%s\n' $(SOURCES) | LC_ALL=C sort | cksum | tr -d ' ')
# It lies beside the links, so that both are made again when build/ is removed.
LINKED := build/.linked-$(FILE_LIST)

demo: install
	$(BIN)/surfshift run $(STUDY)

test: lint types check docs

lint: install-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: install-dev
	$(BIN)/mypy --strict $(TYPED)

check: install-dev
	$(BIN)/pytest

# Every warning is an error. The pages open without a network.
docs: install-dev
	$(BIN)/sphinx-build -W --keep-going -q -b html -d build/docs-cache docs build/docs
	@echo "the documentation is in build/docs/index.html"

install: $(VENV)/.installed $(LINKED)

install-dev: $(VENV)/.installed-dev $(LINKED)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "surfshift needs Python 3.11 or newer; none was found. Install one, or name it: make PYTHON=/path/to/python test" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch goes first: left to the solver it may come in a build for GPUs of several GB.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV), once; this takes some minutes and 3 GB."
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/python -m pip install --quiet -e '.[view]' -C editable_mode=strict -c constraints.txt
	rm -f build/.linked-*
	mkdir -p build
	touch $@ $(LINKED)

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.torch
	$(BIN)/python -m pip install --quiet -e '.[dev,docs,view]' -C editable_mode=strict -c constraints.txt
	rm -f build/.linked-*
	mkdir -p build
	touch $@ $(VENV)/.installed $(LINKED)

$(LINKED): | $(VENV)/bin/python
	rm -f build/.linked-*
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . -C editable_mode=strict -c constraints.txt
	touch $@

# Writes the versions that are installed now as the tested ones. Run it in a fresh .venv after `make test` has passed.
constraints: install-dev
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
