# Each target sets up .venv by itself, from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check format bench clean

demo: $(READY)  ## swap the subject of a small clip, and write a report
	$(BIN)/vswap demo

test: $(READY)  ## run the tests, two files at a time, each on one thread: more threads than cores wait for each other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(READY)  ## lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## compare speeds
	$(BIN)/python -m pytest benchmarks -o 'python_files=bench_*.py' --benchmark-only

clean:
	rm -rf .venv runs

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vswap needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(INSTALL) hatchling editables
	$(INSTALL) --no-build-isolation --editable '.[dev,diffusion]'
	touch $@
