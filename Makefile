# `make demo` and `make test` each do all the set-up that they need; see CONTRIBUTING.md.
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.10 python3))
VENV := .venv
STAMP_DEMO := $(VENV)/.set-up-demo
STAMP := $(VENV)/.set-up
BIN := $(VENV)/bin
TRITON := $(VENV)/.triton
# A second environment, of a hub alone, with transformers 5: the exporter in the first needs transformers 4.
VENV_5 := .venv-transformers5
STAMP_5 := $(VENV_5)/.set-up
BIN_5 := $(VENV_5)/bin
# What runs the model: by itself, and under the engine. In a real hub's process it is run there by tests/tools/test_bench_architectures.py.
TESTS_5 := tests/hub/test_target.py tests/hub/test_row_bits.py tests/hub/test_identity.py tests/hub/test_checkpoint.py tests/hub/test_self_check.py tests/hub/test_architectures.py tests/hub/test_poison.py tests/hub/test_exits.py tests/hub/test_engine.py

# Compiling all that torch and transformers hold takes longer than installing it. What is imported is compiled then, and kept
# whatever the environment says of that.
PIP := pip install --disable-pip-version-check --no-compile
export PYTHONDONTWRITEBYTECODE :=
# As a path, not as a finder of modules, which would take a tenth of the time that a command needs to start.
EDITABLE := --config-settings editable_mode=compat --editable

# Three workers on two cores, as tests wait for processes that start. All tests of a file are run by one of them, which has its own hub.
PYTEST := -m pytest -n 3 --dist loadfile --no-loadscope-reorder

.PHONY: setup environments demo test test-quick check mosquitto prometheus chromium

setup: $(STAMP) mosquitto prometheus chromium

# All that `make test` needs. One pip after the other: each of them builds this project in its folder.
environments: setup $(TRITON) $(STAMP_5)
$(STAMP_5): | $(TRITON)

# The demo needs a node and a hub; what tests, checks and tools need comes on top of that, into the same environment.
$(STAMP_DEMO): constraints.txt
$(STAMP_DEMO): INSTALLED := '.[node,hub]'
$(STAMP_5): constraints-transformers5.txt
$(STAMP_5): INSTALLED := '.[hub]' pytest pytest-xdist trustme
# PyTorch by hard links to that of the first environment. Where that fails, or the constraints want another, pip installs it.
$(STAMP_5): private LINK_TORCH = cd $(VENV) && set lib/python3*/site-packages && cp -alf $$1/torch $$1/torchgen $$1/functorch $(CURDIR)/$(VENV_5)/$$1 && cp -alf $$1/torch-*.dist-info $(CURDIR)/$(VENV_5)/$$1
$(STAMP_DEMO) $(STAMP_5): pyproject.toml
	@echo "installing PyTorch, and then $(INSTALLED), into $(@D): once, and a gigabyte or more"
	$(PYTHON) -m venv $(@D)
	-$(LINK_TORCH)
	$(@D)/bin/$(PIP) --constraint $(filter %.txt,$^) torch
	$(@D)/bin/$(PIP) --constraint $(filter %.txt,$^) $(EDITABLE) $(INSTALLED)
	@touch $@

$(STAMP): $(STAMP_DEMO)
	@echo "installing what tests, checks and tools need into $(VENV)"
	$(BIN)/$(PIP) --constraint constraints.txt $(EDITABLE) '.[dev]'
	@touch $@

mosquitto:
	@sh tools/install_mosquitto.sh

# Tests read the programs' figures by it, and are skipped where it can't be had.
prometheus:
	@sh tools/install_prometheus.sh

# Tests of the web page drive it, and are skipped where it can't be had.
chromium:
	@sh tools/install_chromium.sh

# SAY reaches the program through the environment: no shell reads what is said.
demo: $(STAMP_DEMO) mosquitto
	@$(BIN)/python -m tools.demo

# Only tests need Triton, which is as large as torch: without a GPU, its interpreter runs the kernels for one.
$(TRITON): $(STAMP)
	$(BIN)/$(PIP) --constraint constraints.txt $(EDITABLE) '.[interpreter]'
	@touch $@

test: environments
	$(BIN)/pip freeze | grep '^transformers==4\.'
	$(BIN)/python $(PYTEST) --hypothesis-profile=ci
	$(BIN_5)/pip freeze | grep '^transformers==5\.'
	$(BIN_5)/python $(PYTEST) $(TESTS_5)

# What to run before each commit: everything but the tests that are marked slow.
test-quick: setup
	$(BIN)/python $(PYTEST) --hypothesis-profile=ci -m 'not slow'

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
