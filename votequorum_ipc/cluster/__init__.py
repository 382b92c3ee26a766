"""votequorum's rules for a cluster of nodes, as a pure model: no I/O, no clock, no chance.

cluster = Cluster(ClusterConfig.of(3))
cluster.up(1, 2, 3)
conn = cluster.connect(1, Service.VOTEQUORUM)
cluster.request(conn, TrackStart(TrackFlags.CHANGES, context=7))
cluster.partition({1}, {2, 3})  # -> [(conn, NodelistNotification(...)), (conn, QuorumNotification(...))]
"""
