# Two commands need nothing else on a fresh machine: `make repro` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Stages call `python`: the virtual environment's, also when it is not activated.
RUN := PATH="$(abspath $(BIN)):$$PATH"
INSTALLED := $(VENV)/.installed

.PHONY: help repro test quick quick-tests check format bench clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

repro: $(INSTALLED)  ## run the pipeline and build report/index.html
	$(RUN) dvc repro
	@echo "open report/index.html"

# Two processes, a file each at a time, in the order that tests/conftest.py gives: the longest first.
PYTEST := pytest -n 2 --dist loadfile --no-loadscope-reorder

test: check  ## lint, types and every test
	$(RUN) $(PYTEST)

# Types are checked beside the tests.
quick: $(INSTALLED)  ## lint, types and the tests that need no pipeline, side by side
	$(MAKE) --jobs 2 --output-sync check quick-tests

quick-tests: $(INSTALLED)
	$(RUN) $(PYTEST) -m "not pipeline and not slow" --hypothesis-profile quick

check: $(INSTALLED)  ## lint, types and which way imports go
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) lint-imports --no-cache --no-logo
	$(RUN) pyright

format: $(INSTALLED)  ## format and sort imports
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

bench: $(INSTALLED)  ## measure metric speed beside scikit-learn, anomalib and ADEval
	$(BIN)/python -m pip install --quiet -e '.[bench]'
	$(RUN) python benchmarks/metrics_speed.py

clean:  ## remove outputs and the virtual environment (not the store)
	rm -rf $(VENV) outputs data report/index.html report/triage.csv

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=24'
	$(BIN)/python -m pip install --quiet -e '.[samples,clip,dev]'
	@touch $@
