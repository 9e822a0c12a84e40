# make lint, make coverage, ...: one step of .ci/run, which has the commands. make alone lists them; make all runs them.
STEPS := $(shell .ci/run --list)

.PHONY: list all $(STEPS)
list:
	@.ci/run --list
all:
	@.ci/run
$(STEPS):
	@.ci/run $@
