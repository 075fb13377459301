# Every command of the house, from a fresh clone. Needs git, make and Python 3.11; all else comes into .venv.
# Versions and hashes stand in requirements.lock and bootstrap.lock (uv itself); nothing else is installed.

PROFILE ?=
ARGS ?=

BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready
FOLDER := $(if $(PROFILE),profiles/$(PROFILE),.)
SEASON := data/season/catalog.json

# Stages and kernels find the tools of .venv first, whatever the caller's PATH says.
export PATH := $(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/.venv
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup repro season drift test chaos bench check platform-check lab readme export web lock clean profile

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## the virtual environment .venv, exactly as locked
	@echo '.venv is ready'

$(READY): requirements.lock bootstrap.lock pyproject.toml bootstrap.sh
	@sh bootstrap.sh
	@touch $@

profile:
	@test -f "$(FOLDER)/dvc.yaml" || { \
	  echo "Profile $(PROFILE): found no $(FOLDER)/dvc.yaml; expected one of:" \
	    $$(cd profiles 2>/dev/null && ls -d */ | tr -d /) "(or no PROFILE: the embedded season)." \
	    "Run for example: make repro PROFILE=herault_2018" >&2; exit 2; }

repro: profile $(READY) ## the map and its scores; PROFILE=name for one of profiles/ (default: embedded season)
	@cd "$(FOLDER)" && "$(BIN)/dvc" repro
	@"$(BIN)/python" -m geocrop.cli summary --folder "$(FOLDER)"

season: $(READY) ## the embedded season in data/season (no network, seeded)
	@"$(BIN)/dvc" repro data/dvc.yaml

drift: profile $(READY) ## a season beside the training of the model, reports/drift; ARGS="--items FILE" or --table, --map
	@cd "$(FOLDER)" && "$(BIN)/geocrop" drift --out reports/drift --track $(ARGS)
	@cd "$(FOLDER)" && "$(BIN)/python" -m geocrop_papermill "$(CURDIR)/nbs/pipelines/06_drift.ipynb" reports/drift/drift.ipynb

test: $(READY) season ## every test, notebooks included, three files at a time; ARGS="-k words" to choose
	@"$(BIN)/python" -m pytest -n 3 --dist loadfile $(ARGS)

chaos: $(READY) season ## the service while its processes are killed and its servers fail: 60 jobs, 25 kills; a table of promises
	@"$(BIN)/python" -m pytest -q tests/serving/chaos --long $(ARGS)

bench: $(READY) ## kernels, reading, trees, maps and the service against others (two hours, 4 GB in the temp folder)
	@bench/setup.sh
	@status=0; for part in features io forest map serving; do \
	  "$(BIN)/python" bench/$$part.py --json bench/results/$$part.json || status=1; done; exit $$status

check: $(READY) ## ruff, mypy, and the rules of the house (floors, fresh export, clean notebooks, locks)
	@"$(BIN)/ruff" check
	@"$(BIN)/ruff" format --check
	@"$(BIN)/mypy"
	@"$(BIN)/python" -m pytest -q tests/test_house.py

platform-check: $(READY) ## manifests, policies, pipelines and images of k8s/, checked without a cluster (network: packages)
	@k8s/check/setup.sh
	@cd k8s && check/.venv/bin/python -m check $(ARGS)

lab: profile $(READY) season ## JupyterLab on the notebooks; with PROFILE=name they read that project
	@GEOCROP_HOME="$(abspath $(FOLDER))" "$(BIN)/jupyter" lab $(if $(filter 0,$(shell id -u)),--allow-root) nbs/index.ipynb

readme: $(READY) ## README.md and its pictures from what nbs/index.ipynb shows
	@rm -rf docs/readme
	@"$(BIN)/jupyter" nbconvert --log-level ERROR --to markdown nbs/index.ipynb --output-dir . --output README \
	  --NbConvertApp.output_files_dir=docs/readme

export: $(READY) ## after editing: write geocrop/ from the notebooks, strip their noise, set the scripts
	@"$(BIN)/nbdev-export"
	@"$(BIN)/nbdev-clean"
	@"$(BIN)/ruff" format --quiet

web: $(READY) ## the page of the service: what it says of the project, and serving/web/dist (network: npm)
	@"$(BIN)/python" serving/web/facts.py
	@PYTHON="$(BIN)/python" serving/web/build.sh

lock: $(READY) ## all lock files after a change of pyproject.toml (network); ARGS=--upgrade for the newest
	@printf 'uv\n' | "$(BIN)/uv" pip compile - $(COMPILE) -o bootstrap.lock
	@"$(BIN)/uv" pip compile pyproject.toml --extra dev $(COMPILE) -o requirements.lock
	@printf 'uv\nsetuptools\n' | "$(BIN)/uv" pip compile - $(AS_LOCKED) -o serving/images/build.lock
	@"$(BIN)/uv" pip compile pyproject.toml --extra serving $(AS_LOCKED) -o serving/images/api.lock
	@"$(BIN)/uv" pip compile pyproject.toml --extra science --extra serving $(AS_LOCKED) -o serving/images/worker.lock
	@"$(BIN)/uv" pip compile pyproject.toml --extra lab --extra serving $(AS_LOCKED) -o serving/images/lab.lock
COMPILE = --quiet $(ARGS) --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11
AS_LOCKED = $(filter-out $(ARGS),$(COMPILE)) --constraint requirements.lock --constraint bootstrap.lock

clean: ## remove .venv and the caches of tools; data, reports and the DVC cache stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
