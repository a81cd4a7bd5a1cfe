# The project's environment and tasks. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
# Relative, so that spaces in the path do no harm.
RUN := $(VENV)/bin/python
READY := $(VENV)/.stamp
LOCK := requirements/lock.txt
PIP := $(RUN) -m pip --disable-pip-version-check install --no-deps
# Parallel test processes, one core each. Tests of one file stay in one process unless another is
# idle, so that what they share is made once (worksteal).
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo compare test check format docs lock clean distclean

help:  ## show this list
	@echo 'make TARGET [ARGS="options for the command behind it"] [PYTHON=python3.12]'
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' Makefile | expand -t 14

setup: $(READY)  ## make .venv with the versions pinned in requirements/lock.txt

demo: $(READY)  ## train the mean teacher on the built-in digits: CPU or GPU, about 10 minutes
	$(RUN) tools/train.py configs/mt_fasterrcnn_digits10pct.py $(ARGS)

compare: $(READY)  ## compare the mean teacher with supervised training, several seeds
	$(RUN) tools/compare.py $(ARGS)

test: $(READY)  ## run the tests
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(READY)  ## ruff and mypy
	$(RUN) -m ruff format --check
	$(RUN) -m ruff check
	$(RUN) -m mypy

format: $(READY)  ## format the code and sort the imports with ruff
	$(RUN) -m ruff check --select I --fix
	$(RUN) -m ruff format

docs: $(READY)  ## build the documentation site in build/docs
	$(RUN) docs/write_settings.py
	$(RUN) -m mkdocs build --strict

lock:  ## pin versions again (needs uv); ARGS=--upgrade for the newest
	UV_CUSTOM_COMPILE_COMMAND='make lock' uv pip compile pyproject.toml --extra dev --universal \
		--python-version 3.10 --no-annotate --quiet --output-file $(LOCK) $(ARGS)

clean:  ## remove caches and build leftovers; data/ and work_dirs/ stay
	rm -rf build dist ssod.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find configs ssod tests tools -name __pycache__ -prune -exec rm -rf {} +

distclean: clean  ## remove .venv as well; data/ and work_dirs/ stay
	rm -rf $(VENV)

# An interrupted set-up leaves no stamp, so the next one starts from an empty .venv.
# pip does not see torch when it builds mmcv and mmdet, so nothing is compiled; --no-deps because the
# lock is complete.
$(READY): $(LOCK) pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo 'error: $(PYTHON) is missing or older than 3.10; give another: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'error: $(PYTHON) cannot create environments; install its venv module (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@echo 'Setting up $(VENV): about 3 GB to download the first time.'
	test -f $@ || $(PYTHON) -m venv --clear $(VENV)
	rm -f $@
	$(PIP) "$$(grep '^pip==' $(LOCK))"
	$(PIP) --build-constraint $(LOCK) --requirement $(LOCK)
	$(PIP) --no-build-isolation --editable .
	@touch $@
