"""Every fault that can happen to a cluster node, and what a program sees of it: a test for each line of
docs/reliability.md. What the tests of single modules prove already is not repeated here.
"""
