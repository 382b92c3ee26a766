"""How fast the client is, compared with its alternatives: `make bench`, or `python -m bench --help`.

Strategy: each thing compared runs in a separate process, a *side*, which stays connected and does a round of
work on command. Rounds alternate, so other load on the machine affects all sides alike. A result is the
median over rounds of the ratio of the two sides in the same round. Nothing is asserted: the goals are printed
beside the measurements.

registry      what a benchmark is: a function, and the rows of the table that it fills in
benchmarks/   the benchmarks
rivals/       what our client is compared with
own_client    our client as a side
answering     the command loop of a side written in Python
side          starts a side and talks to it
placement     which CPUs the daemon and the sides run on
stage         the daemons and programs that benchmarks ask for, or the reason why one is missing
measure       alternating rounds and their statistics
machine       the machine and versions that were measured
report        table, JSON and plots
"""
