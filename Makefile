# Two commands do everything: `make run` and `make test`.

PYTHON ?= python3
SAMPLE_PATIENTS ?= 12
# One more than there are cores on a small machine: many tests wait for the processes of a node.
TEST_PROCESSES ?= 3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# The processes of a node import the same modules: those that start later find them compiled, whatever the shell says.
unexport PYTHONDONTWRITEBYTECODE
# The node as it is delivered, without what its tests need.
PRODUCT := build/product

.PHONY: run viewer test check slow statement sbom audit clean

run: $(INSTALLED)  ## the node with embedded defaults and, on its first start, phantom cases; it prints what to type next
	@$(BIN)/lookalike serve --samples $(SAMPLE_PATIENTS)

viewer: $(INSTALLED)  ## Orthanc, a node and OHIF with phantom studies; it prints the address
	@deploy/ohif/demo.sh

test: $(INSTALLED) check  ## format, lint, import rules, types, and the quick tests
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder -m "not slow and not gpu"

slow: $(INSTALLED)  ## the tests that take minutes
	$(BIN)/pytest -m slow

check: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports
	$(BIN)/mypy

# A virtual environment in a folder, and a package in it. uv reads other variables than pip for folders of wheels; where
# pip has one, uv gets it too.
define install
	@if command -v uv >/dev/null 2>&1; then \
		test -x $(1)/bin/python || uv venv --python "$$(command -v $(PYTHON))" $(1); \
		$${PIP_FIND_LINKS:+env UV_FIND_LINKS="$$PIP_FIND_LINKS"} \
			uv pip install --python $(1)/bin/python -c constraints.txt $(2); \
	else \
		test -x $(1)/bin/python || $(PYTHON) -m venv $(1) \
			|| { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }; \
		$(1)/bin/python -m pip install -c constraints.txt $(2); \
	fi
	@touch $@
endef

$(INSTALLED): pyproject.toml constraints.txt
	$(call install,$(VENV),-e '.[dev]')

$(PRODUCT)/.installed: pyproject.toml constraints.txt
	$(call install,$(PRODUCT),.)

sbom: $(INSTALLED) $(PRODUCT)/.installed  ## build/sbom.json: all that the node consists of, as CycloneDX, without tools of tests
	@$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-format JSON --output-file build/sbom.json $(PRODUCT)/bin/python

audit: $(INSTALLED) $(PRODUCT)/.installed  ## known vulnerabilities of all that the node consists of
	@$(BIN)/python .ci/audit $(BIN)/pip-audit $(PRODUCT)/lib/python3*/site-packages build/audit.json

statement: $(INSTALLED)  ## docs/conformance.md, from the tables of the code and node/conformance/template.md
	$(BIN)/lookalike conformance --defaults > docs/conformance.md

clean:
	rm -rf $(VENV) build dist
