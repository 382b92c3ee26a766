"""Fuzzing from a checkout: `python -m fuzz`. README.md takes a newcomer through it.

target     what a target is, and how targets are found
targets/   the properties
runner     runs a target against the clock
failures   stores failures and replays them
cases      the names that stored cases use
attacker   performs the steps of `votequorum_ipc.attack`
raw        one connection to a libqb service, on which everything can be done wrong
reproduce  the main function of a finding's reproducer
findings/  what fuzzing found in corosync, with reproducers

`attacker`, `raw` and `reproduce` need only the library, and neither hypothesis nor the command line's
packages.
"""
