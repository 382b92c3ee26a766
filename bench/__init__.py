"""How fast it is, next to what a user would take instead: `make bench`, or `python -m bench --help`.

Strategy: what is compared runs in processes of its own, *sides*, which stay connected and do a round of work
when told to; so rounds alternate, and whatever else the machine does meets all sides alike. A result is the
median over rounds of the ratio of the two sides in the same round. Nothing is asserted: the goals are printed
beside what was measured.

registry      what a benchmark is: a function, and the rows of the table that it fills in
benchmarks/   the benchmarks
rivals/       what our client is compared with
own_client    our client as a side
answering     the commands of a side that is written in Python
side          a side, from outside
placement     on which CPUs all of them run
stage         the daemons and programs that benchmarks ask for, or the reason why there is none
measure       alternating rounds and their statistics
machine       what it was measured on
report        table, JSON and plots
"""
