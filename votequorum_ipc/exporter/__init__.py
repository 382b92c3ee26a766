"""`votequorum-ipc exporter`: a node's cluster as metrics for Prometheus. The extra is `exporter`.

Strategy: `metrics` is a table with each metric's name, labels, meaning and where its samples come from; it
reads an `Overview` and does no I/O. `collector` asks for an overview at each scrape. `serving` answers HTTP
or writes a file. Sockets to corosync belong to one thread, the main one, and each HTTP request waits for it.

Names and labels of the metrics that ha_cluster_exporter has are its own, so its dashboards go on working.
"""
