"""Every fault that can happen to a cluster node, and what a program sees of it: a test for each line of
docs/reliability.md. Faults that the tests of single modules cover are not repeated here.
"""
