"""Faults injected on purpose into a running graph of the simulated robot: what there is, how it is done, what came of it."""
