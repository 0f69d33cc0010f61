# make reports, make test and make lab set up what they need in .venv; GNU make and Python 3.11 or 3.12 are all they ask for.

VENV    := .venv
PY      := $(VENV)/bin/python
PIP     := $(PY) -m pip install --quiet --disable-pip-version-check
STAMP   := $(VENV)/.complete
PROFILE ?= mini
TABLES  ?=
DATA    ?=
PYTHON  ?=
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3 python)

# The stamp is written last and names the folder: an environment that is half built, or was copied or moved here, is made anew.
BUILT := $(shell test -x $(PY) && cat $(STAMP) 2>/dev/null)
ifneq ($(BUILT),$(CURDIR))
.PHONY: $(STAMP)
endif

.DEFAULT_GOAL := help
.PHONY: help env reports test lint lab clean

help:
	@echo 'make reports [PROFILE=mini] [TABLES="1 4"] [DATA=folder]   run the notebooks into reports/<profile>/'
	@echo 'make test                                                  unit tests, the notebooks against their saved outputs, and in a browser'
	@echo 'make lint                                                  ruff, and whether each notebook keeps its outputs'
	@echo 'make lab                                                   open the notebooks in JupyterLab'
	@echo 'make env [PYTHON=/path/to/python3.11]                      only make the environment .venv'
	@echo 'make clean                                                 remove .venv and leftovers of Python; data, reports, .cache stay'

env: $(STAMP)

reports: $(STAMP)
	$(PY) -m lib run --profile $(PROFILE) $(if $(TABLES),--tables $(TABLES)) $(if $(DATA),--data "$(DATA)")

test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist loadfile tests --ignore=tests/test_browser.py
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(PY) -m pytest -n 2 --dist loadscope --nbval --nbval-current-env --nbval-kernel-startup-timeout=300 -p no:cacheprovider notebooks/*.ipynb
	$(PY) -m pytest -n 2 tests/test_browser.py

lint: $(STAMP)
	$(PY) -m ruff format --check lib tests benchmarks
	$(PY) -m ruff check lib tests benchmarks
	$(PY) -m pytest --quiet tests/test_notebooks.py -k executed

lab: $(STAMP)
	$(PY) -m jupyter lab

clean:
	rm -rf $(VENV) .pytest_cache build *.egg-info
	find lib tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

# sam2 comes second because it is built against the installed torch: requirements-sam2.txt says more.
$(STAMP): requirements.txt requirements-sam2.txt pyproject.toml
	@if [ "$(BUILT)" != "$(CURDIR)" ]; then \
	  python=; for p in $(PYTHONS); do \
	    "$$p" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && python=$$p && break; \
	  done; \
	  if [ -z "$$python" ]; then \
	    echo 'Python 3.11 or 3.12 is needed; looked for: $(PYTHONS).' \
	      'Install one, or name it: make env PYTHON=/path/to/python3.11' >&2; exit 1; fi; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$$python has no venv module. On Debian and Ubuntu: sudo apt install $$("$$python" -c \
	      'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2; exit 1; }; \
	  echo "Making $(VENV) with $$python (some minutes and 6 GB of disk)"; \
	  "$$python" -m venv --clear $(VENV) || exit 1; \
	fi
	@rm -f $@
	$(PIP) -r requirements.txt
	SAM2_BUILD_CUDA=0 $(PIP) --no-build-isolation --no-deps -r requirements-sam2.txt
	$(PIP) --no-build-isolation --no-deps --editable .
	@echo "$(CURDIR)" > $@
