# Text Telescope. `make help` lists the targets. Requires python3 (3.11 or newer) and make.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help serve test test-all lint format wheels clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.serve ## Install the service and start it on http://localhost:8000
	$(BIN)/text-telescope serve $(ARGS)

# One pytest process a core, and all tests of a module in the same one (tests/conftest.py). Within it libraries compute
# on one thread (OMP_NUM_THREADS): more threads than cores would only wait for each other. Compiled modules are kept even
# where the environment forbids it (PYTHONDONTWRITEBYTECODE): hundreds of processes would compile them again.
PYTHON_TEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python
PYTEST = -m pytest --numprocesses auto --dist loadfile

test: $(VENV)/.develop ## Install everything and run the quick tests (ARGS="-k batcher" for some)
	$(PYTHON_TEST) $(PYTEST) -m "not slow" $(ARGS)
	@echo "Not run: the tests marked slow (servers, browser, containers, faults, training). make test-all runs all."

test-all: $(VENV)/.develop ## Install everything and run all tests, with coverage
	$(PYTHON_TEST) -m slipcover $(PYTEST) $(ARGS)
	@echo "Lines not run are listed in coverage.txt. All lines, those not run, and the percentage:"; tail -n 1 coverage.txt

lint: $(VENV)/.develop ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.develop ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheels: | $(BIN)/python ## Build wheels and source archives of service and client in dist/
	$(PIP) build
	rm -rf dist build *.egg-info client/build client/*.egg-info
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m build --outdir dist client

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis coverage.txt *.egg-info client/*.egg-info build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Text Telescope needs Python 3.11 or newer, and $(PYTHON) is older; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable ./client --editable '.[cpu,ocr]'
	@touch $@

$(VENV)/.develop: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable './client[numpy]' --editable '.[cpu,onnx,paddle,train,ocr,pdf,bulk,otel,heic,dev]'
	$(PIP) --no-deps "rapidocr-onnxruntime; python_version < '3.13'" "rapidocr-paddle; python_version < '3.13'"  # they require opencv-python, which would overwrite the headless build
	@touch $@ $(VENV)/.serve
