# Two commands do everything on a fresh machine with Python 3.11 and pip:
#   make demo   the whole method on the embedded mini world, with a report page
#   make test   all fast tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= demo-out
SECONDS ?= 60
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS := $(VENV)/.installed-for-tests

.PHONY: demo test numerics slow fuzz page docs lint types format clean

demo: $(STAMP)
	$(BIN)/synood demo --out $(OUT)

# one thread a worker: on shared cores two workers of one thread beat one of two
test: $(TESTS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q

# the numerical tests again with the kernels of older processors: without AVX2, without AVX-512
numerics: $(TESTS)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q -m "numerical and not slow"
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OPENBLAS_CORETYPE=Haswell \
	  OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q -m "numerical and not slow"

# one worker: the demo takes both cores
slow: $(TESTS)
	$(BIN)/python -m pytest -q -m slow

# bytes chosen by coverage for everything that reads a file from outside: make fuzz SECONDS=600
fuzz: $(TESTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[fuzz]"
	PYTHONPATH=tests:tests/helpers OMP_NUM_THREADS=1 $(BIN)/python -m fuzzing --seconds $(SECONDS)

# the page of `synood serve`, in this machine's Chromium
page: $(TESTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/serving/test_page.py

# the docs site in docs/_build/html, where every warning fails, and the notebooks
docs: $(TESTS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/docs/test_notebooks.py

lint: $(TESTS)
	$(BIN)/ruff format --check src tests perf tools integrations
	$(BIN)/ruff check src tests perf tools integrations

types: $(TESTS)
	$(BIN)/mypy

format: $(TESTS)
	$(BIN)/ruff format src tests perf tools integrations
	$(BIN)/ruff check --fix src tests perf tools integrations

# The exact versions stand in constraints.txt, so that everybody runs what was tested.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "synood needs Python 3.11 or newer; say: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[synth]"
	touch $@

# What the demo has no use for: Ray, readers of other formats, the checkers.
$(TESTS): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[synth,ray,parquet,serve,onnx,test]"
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
