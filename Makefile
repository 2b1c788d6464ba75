# Two commands on a fresh machine: `make run` builds and runs the reference journey, `make test` tests everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find natfast simcore -name '*.pyx' -o -name '*.pxd' -o -name '*.h') setup.py pyproject.toml

.PHONY: run test bench lint debug clean check-tools

run: $(VENV)/.built
	$(BIN)/simcore run examples/journey.yaml --report

test: $(VENV)/.tested
	tools/debian-packages
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

bench: $(VENV)/.tested
	$(BIN)/python tools/extra-requirements bench | xargs -d '\n' $(BIN)/pip install --quiet
	$(BIN)/python -m benchmarks.compare

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy

# bounds checks and AddressSanitizer, the same tests
debug: $(VENV)/.tested
	tools/debug-tests

check-tools:
	@tools/check-tools $(PYTHON)

$(VENV)/.venv: | check-tools
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip "setuptools>=77" "cython>=3.1" "numpy>=1.26"
	@touch $@

$(VENV)/.built: $(VENV)/.venv $(SOURCES)
	$(BIN)/pip install --quiet --no-build-isolation --editable ".[study]"
	@touch $@

$(VENV)/.tested: $(VENV)/.built
	$(BIN)/python tools/extra-requirements test | xargs -d '\n' $(BIN)/pip install --quiet
	@touch $@

clean:
	rm -rf $(VENV) build out *.egg-info
	find natfast simcore -name '*.so' -delete
	find natfast simcore -name '*.c' -delete
