# Two commands on a fresh machine: `make run` builds and runs the reference journey, `make test` tests everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(shell find natfast simcore -name '*.pyx' -o -name '*.pxd' -o -name '*.h') setup.py pyproject.toml

# Debian's packages come while the compiler works
MAKEFLAGS += --jobs=2

.PHONY: run test fuzz bench lint debug clean check-tools debian-packages

run: $(VENV)/.built
	$(BIN)/simcore run examples/journey.yaml --report

# the kernel's answers are waited for, and benchmarks are timed: those one after the other, all else side by side
test: $(VENV)/.tested debian-packages
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --ignore=tests/kernel --numprocesses=auto --maxprocesses=4 --dist=worksteal tests
	$(BIN)/python -m pytest tests/kernel benchmarks

# examples that no run has had yet, until one of them finds something or Ctrl-C
fuzz: $(VENV)/.tested
	while $(BIN)/python -m pytest -m hypothesis --hypothesis-profile=search --ignore=tests/kernel --numprocesses=auto tests \
		&& LIVE_SEED=new $(BIN)/python -m pytest tests/kernel/test_live.py; do :; done

bench: $(VENV)/.tested
	$(BIN)/python tools/extra-requirements bench | xargs -d '\n' $(BIN)/pip install --quiet
	$(BIN)/python -m benchmarks.compare

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy

debian-packages:
	tools/debian-packages

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
