# Every target creates .venv and installs what it needs if absent.
PROFILE ?= cpu
DATASETS ?= mnist
FEATURES ?=
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: reproduce smoke test test-pipeline lab notebooks bench publish clean

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(INSTALLED)

reproduce: $(INSTALLED)  ## the matrix of a profile, into results/$(PROFILE); DATASETS="mnist avatars" FEATURES="thick bangs"
	$(BIN)/python -m lib.pipeline reproduce --profile $(PROFILE) --datasets $(DATASETS) --features $(FEATURES)

smoke: $(INSTALLED)  ## the whole chain at toy size
	$(BIN)/python -m lib.pipeline reproduce --profile smoke

test: $(INSTALLED)  ## lint, unit tests, notebooks, committed results
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

test-pipeline: $(INSTALLED)  ## slow: smoke twice gives the same numbers, kill -9 and resume
	$(BIN)/python -m pytest -o addopts=-q tests/pipeline

lab: $(INSTALLED)  ## read along
	$(BIN)/jupyter lab notebooks/00_index.ipynb

notebooks: $(INSTALLED)  ## refresh the outputs stored in the notebooks
	$(BIN)/python -m lib.pipeline notebooks

bench: $(INSTALLED)  ## speed, as ratios
	TQDM_DISABLE=1 $(BIN)/python benchmarks/bench.py

publish: $(INSTALLED)  ## after `make reproduce`: ship weights, headline notebooks and README tables
	$(BIN)/python -m lib.pipeline publish --profile $(PROFILE) --datasets $(DATASETS)

clean:  ## remove what the pipeline made; shipped weights and published results stay
	git clean -fdXq results .snakemake
