# `make demo` and `make test` do all their own set-up: a virtual environment in .venv with everything in pyproject.toml.
PYTHON ?= python3
FMIQA_ASSETS ?= $(abspath ../shared/assets)
export FMIQA_ASSETS

VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin

.PHONY: demo test test-quick lint types doctest format benchmarks clean

demo: $(READY)
	$(RUN)/python examples/demo.py demo

test: $(READY)
	$(RUN)/python -m pytest

test-quick: $(READY)
	$(RUN)/python -m pytest -m "not slow"

lint: $(READY)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(READY)
	$(RUN)/mypy

doctest: $(READY)
	$(RUN)/python -m pytest --doctest-modules torchmetrics_fmiqa

format: $(READY)
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

benchmarks: $(READY)
	$(RUN)/python benchmarks/overhead.py
	$(RUN)/python benchmarks/memory_4k.py
	$(RUN)/python benchmarks/agreement.py

clean:
	rm -rf $(VENV) demo dist

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --upgrade pip
	$(RUN)/pip install --quiet --editable ".[dev]"
	touch $(READY)
