"""A cluster and its clients in one process, replayed from a seed: `python -m tests.simulation --seed 7`.

A seed gives a `Plan`: a configuration, a transport, who asks and how, and what goes wrong when. A history is
one run of a plan, in virtual time and in an order that the seed decides too. While it runs, the model of the
cluster judges each answer at the instant when the program gets it.

schedule  trio with a virtual clock and an order of tasks that a seed decides
plan      a seed becomes a plan
world     the cluster: daemons that hang, and a record of what each node knew and announced, and when
claims    what a view, a status and a device's vote must be, and what is found wrong
actors    the programs: watchers, status readers, devices
history   one plan carried out, and what came of it
defects   mistakes put into the library on purpose, to check that the claims find them
"""
