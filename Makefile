# make demo         search a network for a real scene, train it, map the scene, write the report
# make test         run the tests
# make lint         check style and types
# make regressions  compare ratios of speed with the stored ones
# make bench        run every benchmark in its short form
# make docs         build the documentation
# make clean        remove what these commands made, but not the virtual environment
#
# A virtual environment is made on first use. Variables:
#   VENV       its folder (.venv)
#   PYTHON     the interpreter that makes it (python3; 3.11 or newer)
#   DEMO       the demo's output folder (demo)
#   DEMO_ARGS  further options of the demo, to shorten it or change the scene
#   TEST_ARGS  options of pytest (-n 2: in two processes)

VENV ?= .venv
PYTHON ?= python3
DEMO ?= demo
DEMO_ARGS ?=
TEST_ARGS ?= -n 2

PY := $(VENV)/bin/python
INSTALL = $(PY) -m pip install --quiet --constraint constraints.txt --editable

.DELETE_ON_ERROR:
.PHONY: demo test lint regressions bench docs clean

demo: $(VENV)/.installed
	$(PY) -m swath demo --out $(DEMO) $(DEMO_ARGS)

test: $(VENV)/.installed-dev
	$(PY) -m pytest $(TEST_ARGS)

lint: $(VENV)/.installed-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

regressions: $(VENV)/.installed-dev
	$(PY) benchmarks/regressions.py

bench: $(VENV)/.installed-dev
	@failed=; for script in benchmarks/*.py; do \
		test -e "$$script" || continue; \
		echo "== $$script --quick"; \
		$(PY) "$$script" --quick || failed="$$failed $$script"; \
	done; \
	if test -n "$$failed"; then echo "failed:$$failed" >&2; exit 1; fi

docs: $(VENV)/.installed-docs
	$(PY) -m mkdocs build --strict

clean:
	rm -rf $(DEMO) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
	rm -f $(VENV)/.installed*

# The stamps: an environment is installed again only when what it is made from has changed.
$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "swath needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(PY)
	$(INSTALL) .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(PY)
	$(INSTALL) '.[dev,export]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(PY)
	$(INSTALL) '.[docs]'
	@touch $@
