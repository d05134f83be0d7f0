# make demo   installs the base into .venv and screens sample_data
# make test   installs what the tests need into .venv-test, then lint, types, tests
#
# make docs   builds the site of docs/ into build/site, strictly
# make fuzz MINUTES=...  hostile headers and mutants of every transfer syntax, for so long
# make bench  measures the speed beside two peers; let nothing else run
# make score-difference DATA=...  how far scores move where films are decoded at a reduced size
# make sbom   names all that a scan is made of, the C and C++ libraries inside the wheels too
# make model DATA=...  trains on labelled radiographs and puts both bundles into the package
#
# PYTHON=...  another interpreter than the one that is found
# TORCH=...   what pip is given for torch, where a smaller build is at hand:
#             make test TORCH='torch torchvision --index-url URL-of-the-CPU-builds'

SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: help demo test test-long soak fuzz lint docs system model bench score-difference sbom clean

DEMO := .venv
TEST := .venv-test
SOURCES := pyproject.toml $(shell find screener export -name '*.py' -o -name '*.onnx')
# Toolkits that wrote or check what the tests read, and what injects faults.
SYSTEM_PACKAGES := chromium chromium-driver dcmtk dicom3tools openssl orthanc orthanc-dicomweb strace
PIP := -m pip --disable-pip-version-check install --quiet

# The shims of version managers answer to names that they cannot run: each is asked.
ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3 python3.14 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$p" && break; done)
endif

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

define need_python
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer with venv was found." >&2; \
	echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv)," >&2; \
	echo "or name it: make $@ PYTHON=/path/to/python3" >&2; exit 1; }
endef

demo: $(DEMO)/.installed
	@rm -rf demo-report
	@# A cut file is among the samples; in a fresh clone it is young, yet not being written.
	@$(DEMO)/bin/screener scan sample_data/studies --out demo-report --settle 0 || test $$? -eq 3
	@$(DEMO)/bin/python -c "import pandas; \
	table = pandas.read_csv('demo-report/triage.csv', dtype=str, keep_default_na=False); \
	names = ['rank', 'triage', 'priority', 'score', 'reason_code', 'path']; \
	table['path'] = table['path'].str.rpartition('sample_data/studies/')[2]; \
	print('\nThe first rows of demo-report/triage.csv:\n'); \
	print(table[names].head(8).to_string(index=False))"

$(DEMO)/.installed: $(SOURCES)
	$(need_python)
	@test -x $(DEMO)/bin/python || "$(PYTHON)" -m venv $(DEMO)
	@echo "Installing into $(DEMO): some 320 MB to download, minutes on a slow line ..."
	@$(DEMO)/bin/python $(PIP) .
	@touch $@

test: lint
	$(TEST)/bin/python -m pytest

lint: system $(TEST)/.installed
	$(TEST)/bin/python -m ruff check .
	$(TEST)/bin/python -m ruff format --check .
	$(TEST)/bin/python -m mypy

docs: $(TEST)/.installed
	$(TEST)/bin/python -m mkdocs build

# An hour or two: every fault point and the long round trips too.
test-long: system $(TEST)/.installed
	$(TEST)/bin/python -m pytest -m 'long or not long and not soak'

# Hostile headers and mutants of every transfer syntax, half of the time each. Ends with what broke
# a promise, or with the figures that tests/faults/RECORD.md keeps.
fuzz: $(TEST)/.installed
	@$(TEST)/bin/python -c 'import atheris' 2>/dev/null || $(TEST)/bin/python $(PIP) --editable '.[fuzz]'
	$(TEST)/bin/python -m tests.faults.fuzz_headers --minutes $$(( ($(MINUTES) + 1) / 2 )) --start $$(date +%s)
	$(TEST)/bin/python -m tests.faults.fuzz_decoders --minutes $$(( ($(MINUTES) + 1) / 2 )) --start $$(date +%s)

# Hours: a million entries. Its figures are kept in tests/faults/RECORD.md.
soak: system $(TEST)/.installed
	$(TEST)/bin/python -m pytest -m soak -s

$(TEST)/.installed: pyproject.toml
	$(need_python)
	@test -x $(TEST)/bin/python || "$(PYTHON)" -m venv $(TEST)
	@echo "Installing into $(TEST) ..."
	@$(if $(TORCH),$(TEST)/bin/python $(PIP) $(TORCH))
	@$(TEST)/bin/python $(PIP) --editable '.[evaluate,train,pacs,sign,dev]'
	@touch $@

system:
	@for command in chromedriver chromium dcmdump dciodvfy openssl Orthanc strace; do \
	command -v $$command >/dev/null || missing=yes; done; \
	if [ -z "$$missing" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing $(SYSTEM_PACKAGES) ..."; \
	apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends $(SYSTEM_PACKAGES) >/dev/null; \
	else echo "Not all there: $(SYSTEM_PACKAGES). Tests that need them are skipped by name."; fi

MINUTES := 4
RECIPE := scratch
LENGTH := 1
SEED := 1
WEIGHTS := scratch
# Of the recipe, such as SETTINGS='drop_path=0.1 mixup=0.2'.
SETTINGS :=
# Of DATA, for the card: name your own where it is not the COVID-19 Radiography Database.
LIMITS := --limit 'No source of its data holds both classes: part of what it learnt is the style of a source.' \
	--limit 'Some of its negatives are children, none of its positives.'
RUN := runs/model
MODELS := screener/models
RECORD := export/records/screener-covid
SCREENER := $(TEST)/bin/screener
WITH_NEGATIVES = $(if $(NEGATIVES),--negatives '$(NEGATIVES)')

# Hours on a processor. A run that was interrupted goes on. Its log, figures and plots go into RECORD;
# the README there says what was run.
model: $(TEST)/.installed
	@test -n "$(DATA)" || { echo "Name the labelled radiographs: make model DATA=FOLDER" >&2; exit 1; }
	$(SCREENER) train '$(DATA)' --out '$(RUN)' --recipe $(RECIPE) --length $(LENGTH) --seed $(SEED) \
	--weights '$(WEIGHTS)' $(SETTINGS:%=--set %)
	mkdir -p $(MODELS) $(RECORD)
	$(SCREENER) export '$(RUN)/best.pt' --data '$(DATA)' --out $(MODELS)/screener-covid.onnx $(WITH_NEGATIVES) $(LIMITS)
	$(SCREENER) model verify $(MODELS)/screener-covid.onnx
	$(SCREENER) export $(MODELS)/screener-covid.onnx --int8 --data '$(DATA)' --out $(MODELS)/screener-covid-int8.onnx $(WITH_NEGATIVES)
	$(SCREENER) model verify $(MODELS)/screener-covid-int8.onnx
	$(SCREENER) evaluate $(MODELS)/screener-covid.onnx '$(DATA)' --out '$(RUN)/evaluation' --no-films
	$(SCREENER) evaluate $(MODELS)/screener-covid-int8.onnx '$(DATA)' --out '$(RUN)/evaluation-int8' --no-films
	cp '$(RUN)/log.csv' $(RECORD)/train-log.csv
	cd '$(RUN)/evaluation' && install -m 644 metrics.json report.html roc.png reliability.png audit.png '$(abspath $(RECORD))'
	install -m 644 '$(RUN)/evaluation-int8/metrics.json' $(RECORD)/metrics-int8.json

# Five minutes and 10 GB of disk. Writes benchmarks/results.json and docs/speed.svg.
bench: $(TEST)/.installed
	$(TEST)/bin/python -m benchmarks.run $(if $(MODEL),--model '$(MODEL)')

# What was read is kept, so that another MODEL takes a minute; `rm $(RUN)-pairs.npz` to read anew.
score-difference: $(TEST)/.installed
	@test -n "$(DATA)" || { echo "Name a folder of radiographs: make $@ DATA=FOLDER" >&2; exit 1; }
	@mkdir -p '$(dir $(RUN))'
	$(TEST)/bin/python -m benchmarks.score_difference --labelled '$(DATA)' \
	--cache '$(RUN)-pairs.npz' $(if $(MODEL),--model '$(MODEL)')

# CycloneDX 1.6. What is described is the environment of `make demo`: what a hospital installs.
sbom: $(DEMO)/.installed $(TEST)/.installed
	@mkdir -p build
	$(TEST)/bin/python docs/make_sbom.py $(DEMO)/bin/python --out build/sbom.cdx.json

clean:
	rm -rf $(DEMO) $(TEST) demo-report build dist
