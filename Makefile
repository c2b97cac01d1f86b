# `make demo` and `make test` do all their own set-up: a virtual environment in .venv with everything in pyproject.toml.
# `make test-lowest` makes one of its own in .venv-lowest, with every dependency at the lowest version in pyproject.toml.
PYTHON ?= python3
FMIQA_ASSETS ?= $(abspath ../shared/assets)
export FMIQA_ASSETS

VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin
LOWEST := .venv-lowest
# A process of one thread (tests/__init__.py) for each core, up to four: each takes about 1 GB.
WORKERS ?= 4
PYTEST := -m pytest -n logical --maxprocesses $(WORKERS) --dist worksteal

.PHONY: demo test test-quick test-lowest lint types doctest docs format benchmarks embedded wheel-check clean

demo: $(READY)
	$(RUN)/python examples/demo.py demo

test: $(READY)
	$(RUN)/python $(PYTEST) --doctest-modules tests torchmetrics_fmiqa

test-quick: $(READY)
	$(RUN)/python $(PYTEST) -m "not slow"

test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python $(PYTEST)

lint: $(READY)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: $(READY)
	$(RUN)/mypy

doctest: $(READY)
	$(RUN)/python -m pytest --doctest-modules torchmetrics_fmiqa

# Warnings are errors. The Python of the pages runs in tests/test_docs.py, which `make test` runs too.
docs: $(READY)
	$(RUN)/python -m pytest tests/test_docs.py -m "not slow"
	rm -rf docs/reference/api
	$(RUN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

format: $(READY)
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

benchmarks: $(READY)
	$(RUN)/python benchmarks/overhead.py
	$(RUN)/python benchmarks/memory_4k.py
	$(RUN)/python benchmarks/distance_cost.py
	$(RUN)/python benchmarks/agreement.py

# What hangs on the embedded network's weights and its default recipe: writes the fixed numbers of the tests and the picture
# of the README, prints the figures of recipes/facts.py and docs/embedded.md.
embedded: $(READY)
	$(RUN)/python -m tests.embedded_numbers
	$(RUN)/python examples/demo.py demo
	cp demo/demo.png docs/demo.png
	$(RUN)/python benchmarks/recipe_costs.py embedded
	OMP_NUM_THREADS=1 $(RUN)/python benchmarks/embedded.py
	$(RUN)/python -m train.embedded.evaluate embedded spips

# Before a release: builds the wheel, installs it alone, and uses it. Downloads PyTorch into the new environment.
wheel-check:
	PYTHON=$(PYTHON) .ci/wheel_check.sh

clean:
	rm -rf $(VENV) $(LOWEST) .venv-wheel demo dist docs/_build docs/reference/api

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --upgrade pip
	$(RUN)/pip install --quiet --editable ".[dev]"
	touch $(READY)

$(LOWEST)/.ready: pyproject.toml .ci/lowest.py
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --upgrade pip
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/pip install --quiet --editable ".[dev]" --constraint $(LOWEST)/lowest.txt
	touch $(LOWEST)/.ready
