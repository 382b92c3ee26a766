"""Tests of the embedded daemon: with our clients, with corosync's programs and libraries, and with hostile
clients.
"""
