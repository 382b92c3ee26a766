"""libqb's server half, and corosync's services on top of the model of a cluster.

`open_server` is libqb's half by itself: it serves any `Service`. `open_simulation` serves a whole cluster,
each node with the services votequorum, quorum, cmap and cfg, convincing enough for corosync's own programs.
"""
