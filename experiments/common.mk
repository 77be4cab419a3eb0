# What the Makefile of every experiment has in common; it sets E, its name, and includes this.
#
#     make -C experiments/E1                                the small size, scripted teacher
#     make -C experiments/E1 SIZE=large SEEDS="0 1 2 3 4"
#     make -C experiments/E1 TEACHER=transformers/smollm2   a real teacher where the experiment asks one

ROOT    := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
PYTHON  ?= $(ROOT)/.venv/bin/python
SIZE    ?= small
SEEDS   ?= 0 1 2
TEACHER ?= scripted
# Answers cost something: each teacher has a folder of its own, and a second start goes on where the first stopped.
W       ?= $(ROOT)/build/experiments/$(E)/$(SIZE)-$(subst /,-,$(TEACHER))

export PYTHONPATH := $(ROOT)
# One thread for each process: `make -j2` is what uses two cores.
export OMP_NUM_THREADS ?= 1

DISTILL := $(PYTHON) -m distill_data
NONE    :=
SPACE   := $(NONE) $(NONE)

# $(call ask,COMMAND AND OPTIONS,NAME): a command of ours that asks a teacher. NAME is whom the script plays.
ifeq ($(TEACHER),scripted)
ask = $(PYTHON) -m experiments.teacher experiments.$(E).teacher -- $(DISTILL) $(1) -t openai/$(2) --base-url {url} -q
else
ask = $(DISTILL) $(1) -t $(TEACHER) -q
endif

# $(call part,N,STEM): the Nth part of a stem such as gold-500-0.
part = $(word $(1),$(subst -, ,$(2)))

# $(call pick,SMALL,LARGE): by SIZE.
pick = $(if $(filter large,$(SIZE)),$(2),$(1))

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.SECONDARY:

.PHONY: all clean
all: results.json

# Students and answers go too: without this, what is there is used again.
clean:
	rm -rf $(W)
