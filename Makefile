# GNU make on Linux and macOS. `make` alone lists the targets; the environment they need is made on the way.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    ?= $(BIN)/python -m pip --disable-pip-version-check --quiet

# One process more than there are processors: many tests wait for servers and clocks.
PARALLEL := -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --dist worksteal

# The files with tests of a mark: collecting all the others takes longer than some of these suites.
marked = $(sort $(shell grep -rlE 'mark\.$(1)\b' tests --include='*.py'))

.DEFAULT_GOAL := help
# Processes of tests keep their byte code, whatever the environment says.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.NOTPARALLEL:

.PHONY: run test test-slow mutations soak test-local test-data test-white-box test-reference test-browser test-ray check extras fix fixtures golden record gallery bench experiments objectives clean help

run: $(VENV)/.local ## label the shipped sentiment seeds with the embedded teacher
	@mkdir -p data
	$(BIN)/distill-data models pull smollm2
	$(BIN)/distill-data label seeds/sentiment.jsonl -r annotate -t local/smollm2 -o data/sentiment.jsonl

test: $(VENV)/.test ## run the core suite, several tests at once
	$(BIN)/python -m pytest $(PARALLEL)

test-slow: $(VENV)/.test ## run the tests that take more than a few seconds
	$(BIN)/python -m pytest $(PARALLEL) -m "slow and not local and not datasets and not white_box and not reference and not browser and not ray" $(call marked,slow)

mutations: $(VENV)/.test ## change the engine in one place after the other; each time a test must fail
	$(BIN)/python -m tests.mutations

soak: $(VENV)/.test ## kill small jobs at every call and 200 times at random, and fail every call in every way
	$(BIN)/python -m tests.crash.soak
	DISTILL_SOAK=1 $(BIN)/python -m pytest -n 0 -m slow tests/system/test_nth_failure.py

test-local: $(VENV)/.test $(VENV)/.local ## run the tests that ask the embedded teacher
	$(BIN)/distill-data models pull smollm2
	$(BIN)/python -m pytest -m "local and not datasets and not white_box" $(call marked,local)

test-data: $(VENV)/.test $(VENV)/.data ## run the tests that load what was written with the datasets library
	$(BIN)/python -m pytest -n auto -m "datasets and not local" $(call marked,datasets)

# Several processes on tiny models: a thread of torch each; with more they wait for one another.
test-white-box test-reference: export OMP_NUM_THREADS := 1
test-white-box: $(VENV)/.test $(VENV)/.train ## run the tests of models that run here, and of training
	$(BIN)/distill-data models pull smollm2
	$(BIN)/python -m pytest -n auto -m "white_box and not slow and not reference" $(call marked,white_box)

test-reference: $(VENV)/.test $(VENV)/.white-box $(VENV)/.data $(VENV)/.reference ## compare formats and metrics with trainers and libraries
	$(BIN)/python -m pytest -n auto -m reference $(call marked,reference)

test-ray: $(VENV)/.test $(VENV)/.ray ## run the tests of shards on a Ray that is started here
	$(BIN)/python -m pytest -m ray $(call marked,ray)

test-browser: $(VENV)/.test ## look at the report in a browser: chromium, on the PATH
	$(BIN)/python -m pytest -n auto -m browser $(call marked,browser)

check: $(VENV)/.dev ## check format, lint, types and documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_docs.py

extras: $(VENV)/.extras ## install at once what all the suites need, and the embedded teacher
	$(BIN)/distill-data models pull smollm2

fix: $(VENV)/.dev ## format the code and repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fixtures: $(VENV)/.test ## write every committed fixture and golden file again, offline, by replaying the runs
	$(BIN)/python -m tests.fixtures
	$(BIN)/python -m tests.golden

golden: $(VENV)/.test ## write prompts, records and rejects of every golden folder again; the diff is the review
	$(BIN)/python -m tests.golden

record: $(VENV)/.test $(VENV)/.local ## ask the teacher of the fixture NAME anew: make record NAME=sentiment
	$(BIN)/distill-data models pull smollm2
	$(BIN)/python -m tests.fixtures --record $(NAME)

gallery: $(VENV)/.local ## run every recipe once on the embedded teacher and write docs/gallery.md
	$(BIN)/distill-data models pull smollm2
	$(BIN)/python examples/gallery.py > docs/gallery.tmp && mv docs/gallery.tmp docs/gallery.md

bench: $(VENV)/.test ## measure what the engine costs, each figure beside its floor
	$(BIN)/python benchmarks/engine.py

experiments: $(VENV)/.test $(VENV)/.train ## train students on rows that the commands made, and write docs/does-it-teach.md; SIZE=large for more
	$(MAKE) -C experiments -j2 PYTHON=$(abspath $(BIN)/python)

objectives: $(VENV)/.test $(VENV)/.train ## train a tiny student by each objective, from three seeds, against an untrained and a control student
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.training.teaching --seeds 3

clean: ## remove the environment and all caches; data/ stays, since answers cost something
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	while IFS='|' read -r target text; do printf '  make %-14s %s\n' "$$target" "$$text"; done

# The environment. A stamp in it says what it holds; it is written last, so what an interrupted installation left is
# done again, and a new environment starts without stamps. A change of pyproject.toml installs again.

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'Python 3.11 or newer is needed; name one, for example: make PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.test $(VENV)/.dev $(VENV)/.local $(VENV)/.data $(VENV)/.reference $(VENV)/.ray: $(VENV)/.%: pyproject.toml $(VENV)/.created
	$(PIP) install --editable '.[$*]'
	@touch $@

# torch alone is gigabytes of CUDA on Linux; TORCH names another build, for example: make TORCH=torch test-white-box

TORCH ?= torch==2.13.0
$(VENV)/.white-box $(VENV)/.train: $(VENV)/.%: pyproject.toml $(VENV)/.created
	$(PIP) install '$(TORCH)'
	$(PIP) install --editable '.[$*]'
	@touch $@

# All extras in one resolution, where each of the targets above would make one of its own.
EXTRAS := local data white-box train reference ray
comma  := ,
$(VENV)/.extras: pyproject.toml $(VENV)/.test
	$(PIP) install '$(TORCH)' --editable '.[$(subst $() ,$(comma),$(EXTRAS))]'
	@touch $(EXTRAS:%=$(VENV)/.%) $@
