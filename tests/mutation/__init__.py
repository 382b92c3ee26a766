"""Mutation: small changes to the modules that decide, which the tests must notice.

    make mutants MODULES="ipc/waiting.py cluster/votes.py" SAMPLE=20 SEED=1

Strategy: parse a module, list every mutant that the operators know, choose a sample by seed, and run the
tests that concern the module on a copy of the tree with one mutant in place. A mutant that no test notices
survives: it needs a test, or a judgement in `judged.toml` that says why it changes nothing that matters.

Why not a tool that exists: mutmut 3.8 and cosmic-ray 8.7 cannot take a statement out, and a forgotten call is
the change that matters most here; nor do they choose a sample by seed. mutmut forks pytest for each mutant,
and these tests count descriptors and forks. cosmic-ray takes further operators only from an entry point of an
installed package.

operators   what may be changed in a module
plan        which modules decide, and which tests concern each
running     copies of the tree, and pytest on them
report      what became of each mutant
"""
