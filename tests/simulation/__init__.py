"""A cluster and its clients in one process, replayed from a seed: `python -m tests.simulation --seed 7`.

A seed gives a `Plan`: a configuration, a transport, the programs and their calls, and the faults and their
times. A history is one run of a plan, in virtual time and with a task order that the seed also decides. While
it runs, the model of the cluster judges each answer at the instant when the program gets it.

schedule  trio with a virtual clock and a task order decided by a seed
plan      a seed becomes a plan
world     the cluster: daemons that hang, and a record of what each node knew and announced, and when
claims    what must hold of a view, a status and a device's vote
actors    the programs: watchers, status readers, devices
history   one plan carried out, and its outcome
defects   mistakes put into the library on purpose, to check that the claims find them
"""
