"""Mutation: small changes to the modules that decide, which the tests must notice.

  make mutants MODULES="ipc/waiting.py cluster/votes.py" SAMPLE=20 SEED=1

Strategy: parse a module, list every mutant that the operators can make, choose a sample by seed, and run the
module's tests on a copy of the tree with one mutant in place. A mutant that no test notices survives: it
needs a test, or a judgement in `judged.toml` that says why the change does not matter.

Why no existing tool: mutmut 3.8 and cosmic-ray 8.7 cannot remove a statement, and a forgotten call is the
most important change here; nor can they choose a sample by seed. mutmut forks pytest for each mutant, but
these tests count descriptors and forks. cosmic-ray takes additional operators only from an entry point of an
installed package.

operators   the possible changes to a module
plan        the modules that decide, and the tests for each
running     copies of the tree, and pytest on them
report      the outcome of each mutant
"""
