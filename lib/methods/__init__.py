"""Unlearning methods: each is a small file that turns what notebook 03 found into the edit its generator is taught."""

from lib.methods import conditional, exact, literal

METHODS = {"literal": literal.edit, "exact": exact.edit, "conditional": conditional.edit}
