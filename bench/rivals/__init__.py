"""What our client is compared with.

c_client.c      a C program on libvotequorum, compiled by the benchmark
ctypes_client   the same library from Python, through ctypes
quorumtool      corosync-quorumtool as a subprocess, its text parsed
"""
