# What the Makefile of every experiment has in common; it sets E, its name, and TAKES, which of TEACHER and STUDENT it has
# a use for, and includes this.
#
#     make -C experiments/E1                                the small size, scripted teacher
#     make -C experiments/E1 SIZE=large SEEDS="0 1 2 3 4"
#     make -C experiments/E6 TEACHER=transformers/smollm2   a real teacher where the experiment asks one

ROOT    := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/..)
PYTHON  ?= $(ROOT)/.venv/bin/python
SIZE    ?= small
SEEDS   ?= 0 1 2
TEACHER ?= scripted
STUDENT ?= tiny
$(foreach name,$(filter-out $(TAKES),TEACHER STUDENT),$(if $(filter-out $(if $(filter TEACHER,$(name)),scripted,tiny),$($(name))),$(warning $(E) has no use for $(name)=$($(name)))))
ifeq ($(filter TEACHER,$(TAKES)),)
override TEACHER := scripted
endif
ifeq ($(filter STUDENT,$(TAKES)),)
override STUDENT := tiny
endif
# Of students, what is not the usual one.
OTHER   := $(filter-out tiny,$(STUDENT))
# Answers cost something: each teacher has a folder of its own, and a second start goes on where the first stopped.
W       ?= $(ROOT)/build/experiments/$(E)/$(SIZE)-$(subst /,-,$(TEACHER)$(OTHER:%=-%))
override W := $(abspath $(W))

export PYTHONPATH := $(ROOT)
# One thread for each process: `make -j2` is what uses two cores.
export OMP_NUM_THREADS ?= 1

DISTILL := $(PYTHON) -m distill_data
NONE    :=
SPACE   := $(NONE) $(NONE)

# $(call scripted,COMMAND AND OPTIONS,NAME): a command of ours that asks the scripted teacher, who plays NAME.
# It has another port each time, which is drift to the command: a second start asks it anew, at no cost.
# $(call ask,COMMAND AND OPTIONS,NAME): the same, but of TEACHER where one is given.
scripted = $(PYTHON) -m experiments.teacher experiments.$(E).teacher -- $(DISTILL) $(1) -t openai/$(2) --base-url {url} --accept-drift -q
ask = $(if $(filter scripted,$(TEACHER)),$(call scripted,$(1),$(2)),$(DISTILL) $(1) -t $(TEACHER) -q)

# What lift problems mean, for a teacher that has to be told, and how long its students may think.
LIFT := --before 'A lift goes between the floors 0 and 9. It starts at the floor named first and goes so many floors up (+) or down (-); at either end it stops. On which floor is it in the end?'
EXPLAINED := $(if $(filter scripted,$(TEACHER)),,$(LIFT))
LONGEST   := $(if $(filter scripted,$(TEACHER)),64,512)

# $(call part,N,STEM): the Nth part of a stem such as gold-500-0.
part = $(word $(1),$(subst -, ,$(2)))

# $(call pick,SMALL,LARGE): by SIZE.
pick = $(if $(filter large,$(SIZE)),$(2),$(1))

# $(call beside,WORD,WORDS,OTHERS): the one of the others that stands where the word is.
beside = $(word $(words $(call upto,$(1),$(2))),$(3))
upto   = $(if $(2),$(firstword $(2)) $(if $(filter $(1),$(firstword $(2))),,$(call upto,$(1),$(wordlist 2,99,$(2)))))

# A student is ARM-ROWS-SEED. $(call train,DATA,OBJECTIVE AND OPTIONS,STUDENT) and $(call evaluate,STUDENT,METRIC,OPTIONS,ROWS); ROWS is held where it is not given.
# A student that was trained anew is drift, and is asked anew.
TOKENIZER ?= bpe:500
BATCH     ?= 16
train = $(DISTILL) train $(1) -s $(STUDENT) $(if $(filter tiny,$(STUDENT)),--tokenizer $(TOKENIZER)) --batch $(BATCH) --seed $(call part,3,$(3)) --objective $(2) -o $(W)/students/$(3) -q
evaluate = $(DISTILL) evaluate $(W)/students/$(1) --task $(W)/$(or $(4),held).jsonl --metric $(2) $(3) -o $(W)/$(1).json --max-failed 0 --accept-drift -q
# What the reader runs to have the same.
COMMAND = make -C experiments/$(E)$(if $(filter small,$(SIZE)),, SIZE=$(SIZE))$(if $(filter scripted,$(TEACHER)),, TEACHER=$(TEACHER))$(if $(OTHER), STUDENT=$(OTHER))$(if $(filter-out 0 1 2,$(SEEDS))$(filter-out $(SEEDS),0 1 2), SEEDS="$(SEEDS)")
# $(call collect,MODULE AND OPTIONS): results.json and the figure.
collect = cd $(ROOT) && $(PYTHON) -m $(1) --folder $(W) --command '$(COMMAND)' --size student=$(STUDENT)

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.SECONDARY:

# The results of before stand in the repository: they are always made anew, of what is in W.
.PHONY: all clean results.json
all: results.json

# Students and answers go too: without this, what is there is used again.
clean:
	rm -rf $(W)
