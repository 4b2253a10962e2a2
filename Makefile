# `make demo` and `make test` each do all the set-up that they need; see CONTRIBUTING.md.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.10 python3))
VENV := .venv
STAMP := $(VENV)/.set-up
BIN := $(VENV)/bin

.PHONY: setup demo test check mosquitto

setup: $(STAMP) mosquitto

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

mosquitto:
	@sh tools/install_mosquitto.sh

# SAY reaches the program through the environment: no shell reads what is said.
demo: setup
	@$(BIN)/python -m tools.demo

test: setup
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
