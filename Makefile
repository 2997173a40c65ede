# make study | test | equality | lint: each sets up .venv by itself on the first call.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEED ?= 20240101
STUDY_OUT ?= runs/study-$(SEED)-$(shell date +%Y%m%d-%H%M%S)

export FLWR_TELEMETRY_ENABLED = 0
export FLWR_DISABLE_UPDATE_CHECK = 1
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: setup study figures kit kit-test image container-test test nginx tinyproxy chromium dicomtools equality bench rehearse rehearse-lies rehearse-faults dossier docs lint format clean help

help:
	@echo "make setup   the programs of this project, in .venv/bin"
	@echo "make study   phantom hospitals, federated study, references, report (SEED=$(SEED))"
	@echo "make figures the two figures of the README, from the run in STUDY_OUT"
	@echo "make test    all tests (make nginx tinyproxy chromium dicomtools installs what some of them need)"
	@echo "make equality  federated statistics against scikit-learn and scipy on pooled rows"
	@echo "make rehearse  a real deployment on this machine, compared with the in-process run"
	@echo "make rehearse-lies  a coordinator that lies, in real deployments: every hospital stops it (ten minutes)"
	@echo "make rehearse-faults  programs killed, lines cut, disks full, in real deployments (half an hour)"
	@echo "make kit     the offline kit for hospitals: wheels, hashes, signature, SBOM (minutes)"
	@echo "make kit-test  builds it, and installs it in a Debian without network, gcc and git"
	@echo "make image     a container image from the kit, by podman (docs/container.md)"
	@echo "make container-test  builds it, and runs the hospitals of a rehearsal in it"
	@echo "make bench   seconds and memory, beside the peers' (an hour; ONLY=transport: a part of it)"
	@echo "make dossier  docs/privacy-dossier.md: what can leave a hospital"
	@echo "make docs    the pages as a site in build/site; a broken link or anchor fails"
	@echo "make lint    format, lint and types"

$(READY): pyproject.toml constraints.txt
	@echo "setting up $(VENV) (a few minutes, once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@echo "compiling the loops of radiomics (half a minute, once)"
	$(BIN)/python -m client.imaging.radiomics.warm
	@touch $(READY)

setup: $(READY)

study: $(READY)
	$(BIN)/fedlnm-sim phantom --out runs/phantom-$(SEED) --seed $(SEED)
	$(BIN)/fedlnm-sim run runs/phantom-$(SEED)/study.toml --sites runs/phantom-$(SEED)/*/ \
		--reference pooled --reference local --cache runs/cache --out $(STUDY_OUT)

figures:
	cp $(STUDY_OUT)/figures/overview-external-1.svg docs/study-auc.svg
	cp $(STUDY_OUT)/figures/flow.svg docs/study-flow.svg

# A file's tests stay together: they share what one of them has made.
test: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

# The proxy in front of a coordinator: without it, its tests are skipped. Needs Debian's apt.
nginx:
	@PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq nginx; }

# A hospital's proxy: without it, the tests of a site behind one are skipped. Needs Debian's apt.
tinyproxy:
	@PATH="$$PATH:/usr/sbin" command -v tinyproxy >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends tinyproxy-bin; }

# The browser that pages are tried in: without it, their tests are skipped. Needs Debian's apt.
chromium:
	@command -v chromium >/dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; }

# A validator of DICOM and a PACS: without them, the tests of what is sent there are skipped.
dicomtools:
	@command -v dciodvfy >/dev/null && command -v Orthanc >/dev/null && \
		test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends dicom3tools orthanc orthanc-dicomweb; }

equality: $(READY)
	$(BIN)/fedlnm-sim equality

rehearse: $(READY)
	$(BIN)/fedlnm-sim rehearse --seed $(SEED)

rehearse-lies: $(READY)
	$(BIN)/python -m pytest tests/deployment/test_lies.py

rehearse-faults: $(READY)
	$(BIN)/python -m pytest tests/deployment -m faults

bench: $(READY)
	$(BIN)/python -m bench.all $(if $(ONLY),--only $(ONLY))

# TORCH=cuda for machines with a card; TORCH_INDEX where PyPI's torch is of the other kind.
kit: $(READY)
	$(BIN)/python -m server.kit.build --out build/kit --tar --torch $(or $(TORCH),cpu) \
		--torch-index "$(TORCH_INDEX)" --key $(or $(KEY),build/release-key.pem)

# The image of the container, from the kit; BASE has Python 3.11. PODMAN_BUILD: options of podman build.
BASE ?= docker.io/library/python:3.11-slim-bookworm
image: kit
	podman $(PODMAN) build $(PODMAN_BUILD) --format docker --build-arg BASE=$(BASE) \
		--tag localhost/fedlnm --file Containerfile .

# The hospitals of a rehearsal in the image, read-only and without rights; needs root and Debian's
# podman, runc and mmdebstrap: the base is made here, as no registry of images is asked.
container-test: kit
	$(BIN)/python -m pytest tests/deployment/test_container.py -m kit -s

# The kit in a Debian with Python alone and without network; needs root and Debian's mmdebstrap.
kit-test: kit
	$(BIN)/python -m pytest tests/deployment/test_kit.py -m kit -s

dossier: $(READY)
	$(BIN)/python -m server dossier --out docs/privacy-dossier.md

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "open build/site/index.html; for the search: python3 -m http.server --directory build/site"

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs build *.egg-info
