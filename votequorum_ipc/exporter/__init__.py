"""`votequorum-ipc exporter`: metrics of a node's cluster for Prometheus. The extra is `exporter`.

Strategy: `metrics` is a table with each metric's name, labels, meaning and the source of its samples; it
reads an `Overview` and does no I/O. `collector` asks for an overview at each scrape. `serving` answers HTTP
or writes a file. Sockets to corosync belong to one thread, the main one, and each HTTP request waits for it.

Metrics that ha_cluster_exporter also has keep its names and labels, so its dashboards work unchanged.
"""
