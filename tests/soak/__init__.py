"""A soak test: `make soak MINUTES=60`, or `python -m tests.soak --minutes 60`.

Three real corosyncs form a cluster in namespaces, two with shared memory and one with sockets. On each node's
host a process uses this package in every way at once (`client`). Meanwhile `chaos` cuts links, kills, stops
and freezes daemons, and kills clients. After each round of faults the cluster heals, the clients release
everything, and these conditions are checked:

- each client holds no more descriptors, mappings and tasks than after its first round, no files, and only a
  little more
  memory than after its second;
- each tracker's history is what its daemon logged while it was connected: the same events, in the same order,
  none
  missing and none twice (`history`); the same holds for what `watch_quorum` showed;
- no answer and no event called a node quorate that had too few votes;
- the clients have removed what a dead daemon left in /dev/shm.

client    one node's user of this package, as a process
history   a daemon's log, read as the events it must have sent, and the comparison
chaos     faults, rounds, checks
report    counts, the display during the run, and the report at the end
"""
