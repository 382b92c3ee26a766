"""What fuzzing takes besides strategies: a client that keeps to nothing, and the runner of fuzz targets.

raw       one connection to a libqb service, by plain calls, on which everything can be done wrong
attack    the steps that such a client takes, as values, and how to perform them
targets   what a fuzz target is, and where the targets of a checkout are
runner    runs a target against the clock, keeps its corpus, stores failures and replays them

`raw` and `attack` need nothing but the library: reproducers of findings are written with them.
"""
