# robot_stack: `make setup`, `make demo`, `make test`; see README.md.
#
#   ROS=jazzy|kilted|none   which ROS 2 wheels to install (default: jazzy; a sourced system ROS 2 is used as it is)
#   EXTRAS=...              extras of pyproject.toml to install (default: cpu,train,sim,reachability,adroit,dev)
#   TORCH_PIP_ARGS=...      extra arguments of `pip install torch`, for a CPU-only wheel
#   BENCH="qp filter ..."   figures of `make bench` (default: all there are)

PYTHON ?= python3
EXTRAS ?= cpu,train,sim,reachability,adroit,dev
SYSTEM_ROS := $(shell test -n "$$ROS_DISTRO" && $(PYTHON) -c 'import rclpy' 2>/dev/null && echo system)
ROS ?= $(or $(SYSTEM_ROS),jazzy)

ifeq ($(ROS),jazzy)
  VENV := .venv
  INSTALL := .[$(EXTRAS),ros]
  CONSTRAIN := -c constraints.txt -c constraints-jazzy.txt
else ifeq ($(ROS),kilted)
  VENV := .venv-kilted
  INSTALL := .[$(EXTRAS),ros-kilted]
  CONSTRAIN := -c constraints.txt -c constraints-kilted.txt
else ifeq ($(ROS),system)
  VENV := .venv
  INSTALL := .[$(EXTRAS)]
  CONSTRAIN := -c constraints-system-ros.txt
else ifeq ($(ROS),none)
  VENV := .venv
  INSTALL := .[$(EXTRAS)]
  CONSTRAIN := -c constraints.txt
else
  $(error ROS: found '$(ROS)', allowed jazzy, kilted, none (or source a system ROS 2 and leave ROS unset))
endif

comma := ,
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed-$(ROS)-$(subst $(comma),-,$(EXTRAS))
PACKAGES := robot_stack policies safety drivers
GUARDS := filter filter_boundaries filter_limits giving_way_boundaries constraints_boundaries keep_out_boundaries grades look_ahead keep_out limits braking layer arbitration qp barrier fallback
ROS_TESTS := tests/data/test_wire_rclpy.py tests/nodes tests/faults tests/launch

# A Python of another virtual environment may have left its marks; every start below finds its own libraries again.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport PYTHONHOME
export MUJOCO_GL ?= egl
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

.PHONY: setup demo test test-engines test-kilted test-all lint coverage mutation bench clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py $(wildcard constraints*.txt)
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; sys.exit(f"Python: found {sys.version.split()[0]}, allowed >= 3.11; next: make setup PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "installing into $(VENV): $(INSTALL)"
ifneq ($(strip $(TORCH_PIP_ARGS)),)
	$(PY) -m pip install --quiet $(CONSTRAIN) $(TORCH_PIP_ARGS) torch
endif
	$(PY) -m pip install --quiet $(CONSTRAIN) -e '$(INSTALL)'
	@rm -f $(VENV)/.installed-* && touch $@

demo: setup
	$(PY) -m robot_stack demo

lint: setup
	$(PY) -m ruff check .
	$(PY) -m mypy

# Everything on Jazzy, then on Kilted what depends on the distribution; a system's ROS 2 is one, and tested alone.
# Whole graphs come first, in a pytest of their own: what the others load and start takes computing time from them.
GRAPHS := tests/nodes tests/faults tests/launch tests/test_interrupt.py
test: lint
	$(PY) -m pytest $(GRAPHS)
	$(PY) -m pytest $(addprefix --ignore=,$(GRAPHS))
	@$(MAKE) --no-print-directory test-engines
ifeq ($(ROS),jazzy)
	@$(MAKE) --no-print-directory test-kilted
endif

# OpenVINO, and TensorRT-RTX, which builds engines without a GPU: half a gigabyte, so not part of the set-up and beside it.
ENGINES := $(VENV)/engines
test-engines: setup
	@test -d $(ENGINES) || $(PY) -m pip install --quiet --no-deps $(CONSTRAIN) --target $(ENGINES).part openvino openvino-telemetry tensorrt-rtx tensorrt-rtx-cu13 tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings cuda-bindings cuda-pathfinder
	@test -d $(ENGINES) || mv $(ENGINES).part $(ENGINES)
	PYTHONPATH=$(ENGINES) $(PY) -m pytest tests/policies/test_engines.py tests/policies/test_tensor_rt.py tests/policies/test_heads.py tests/contracts/test_policy.py

test-all: lint
	$(PY) -m pytest -m 'not gpu and not hardware'

# The environment has no torch: the policy of the tests is exported in .venv (`make setup`).
test-kilted:
	@$(MAKE) --no-print-directory ROS=kilted EXTRAS=cpu,sim,record,dev test-ros

.PHONY: test-ros
test-ros: setup
	$(PY) -m pytest $(ROS_TESTS)

# What stands between a wish and a motor: every line and branch run, every small change noticed.
coverage: setup
	$(PY) -m pytest -q $(addprefix tests/safety/test_,$(addsuffix .py,$(GUARDS))) --cov

mutation: setup
	$(PY) tests/mutation.py

bench: setup
	$(PY) -m robot_stack bench $(BENCH)

clean:
	rm -rf build log install *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PACKAGES) tests benchmarks launch -name __pycache__ -type d -prune -exec rm -rf {} +
