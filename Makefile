# Every target sets up what it needs: `make test` works as the first command after a clone.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
# one thread a process: tests run side by side, and more threads than cores only wait for each other
ONE_THREAD := OMP_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-gpu lint format docs bench crosscheck clean

help:
	@echo "make demo       train, judge and ask a small recommender; FULL=1 for the whole of it"
	@echo "make test       style, types and the quick tests"
	@echo "make test-slow  the slow tests"
	@echo "make test-gpu   the tests that need a CUDA GPU"
	@echo "make lint       style and types alone;  make format  mends the style"
	@echo "make docs       the documentation as a site, in build/site"
	@echo "make bench      the benchmarks"
	@echo "make crosscheck our metrics against ranx and RecTools, in an environment of their own"
	@echo "make clean      removes what was built here, runs/ excepted"

install: $(READY)

# The stamp is written last: an installation that broke off is begun anew.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "napo needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt torch
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/napo demo $(if $(filter-out 0,$(FULL)),--full)

test: lint
	$(ONE_THREAD) $(BIN)/pytest -m "not slow" -n 2

test-slow: $(READY)
	$(ONE_THREAD) $(BIN)/pytest -m slow -n 2 -rs

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test-gpu: $(READY)
	$(ONE_THREAD) $(BIN)/pytest tests/gpu

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(READY)
	$(BIN)/python -m benchmarks.run

crosscheck: $(READY)
	$(PYTHON) -m venv .venv-crosscheck
	.venv-crosscheck/bin/pip install -q -r benchmarks/crosscheck/requirements.txt
	$(BIN)/python -m benchmarks.crosscheck.run .venv-crosscheck/bin/python --write docs/results/metrics.md

clean:
	rm -rf .venv .venv-crosscheck build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
