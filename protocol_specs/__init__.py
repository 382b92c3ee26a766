"""The protocol written down, and the programs that keep what is written true.

    libqb-ipc.md votequorum.md quorum.md cmap.md cfg.md    the specification
    vectors/    frames recorded between corosync and its C clients, one file a service
    frames      reads and writes those files
    layouts     walks a construct declaration: what is where, and which bytes mean nothing
    generate    writes tables and dumps into the specification, or says where they have drifted
    record      makes the recordings anew, with real daemons

Part of the repository, not of the package that users install.
"""
