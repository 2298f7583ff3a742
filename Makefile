# Everything a user needs: `make run`, `make test`, `make ui`, `make bench`, `make lint`.
# Needs Python 3.11+, pip and make. Two stamps keep a second call from installing again.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt
INPUTS := pyproject.toml .ci/constraints.txt
RUN    := $(VENV)/.installed-run
DEV    := $(VENV)/.installed-dev

DATA    ?=
SYMBOLS ?=
MONTHS  ?=
STUDY   ?=
ARGS    ?=
PORT    ?= 3000
# What the bars are: the same words name the same data set for every target.
WORDS   = $(if $(DATA),--data "$(DATA)") $(if $(SYMBOLS),--symbols "$(SYMBOLS)")
RUN_FLAGS = $(STUDY) $(WORDS) $(if $(MONTHS),--months "$(MONTHS)") $(ARGS)

.PHONY: run ui config test test-fast coverage lint check bench clean

run: $(RUN)
	@$(BIN)/trademl run $(RUN_FLAGS)

ui: $(RUN)
	@$(BIN)/trademl ui --port $(PORT) $(WORDS) $(ARGS)

config: $(RUN)
	@$(BIN)/trademl config $(WORDS) $(ARGS)

test: $(DEV)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(DEV)
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not e2e and not real_data" $(ARGS)

# Of the last `make test ARGS="--cov --cov-report="`.
coverage: $(DEV)
	@$(BIN)/python .ci/coverage_by_package.py

lint: $(DEV)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports

check: $(RUN)
	@$(BIN)/trademl check

BENCHMARKS := lake ingest features labels sequences scan training inference gate_overhead orchestration leak_mutants.run

bench: $(DEV)
	@$(PIP) --no-deps mambapy==1.2.0 || echo "mambapy cannot be had here: benchmarks.scan leaves its parallel scan out"
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(RUN): $(INPUTS) | $(VENV)/bin/python
	@echo "Installing into $(VENV) (once)"
	@$(PIP) torch==2.13.0
	@$(PIP) --editable .
	@touch $@

$(DEV): $(INPUTS) | $(VENV)/bin/python
	@echo "Installing into $(VENV), with test tools (once)"
	@$(PIP) torch==2.13.0
	@$(PIP) --editable ".[dev,scale]"
	@touch $(RUN) $@

clean:
	rm -rf $(VENV)
