"""The protocol's specification, and the programs that keep it true.

  libqb-ipc.md votequorum.md quorum.md cmap.md cfg.md    the specification
  vectors/    frames recorded between corosync and its C clients, one file per service
  frames      reads and writes those files
  layouts     walks a construct declaration: offsets, names, and padding
  generate    writes tables and dumps into the specification, or reports where they have drifted
  record      records the frames again, with real daemons

This belongs to the repository, not to the installed package.
"""
