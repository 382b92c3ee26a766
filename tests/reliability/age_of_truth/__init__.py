"""How old "quorate" can be: the time from a cut in the network to the moment each side notices.

  python -m tests.reliability.age_of_truth --cuts 50 --out docs/age-of-truth

Strategy: start a real cluster in network namespaces and cut one node off at random moments. One client on
each node tracks quorum and calls `getinfo` every 10 ms. All clients run in one process and read one clock, so
times on different nodes can be compared. The number that matters is the overlap: how long the cut-off node
still says QUORATE after the others have announced a quorate partition without it.

series    the plans: a cluster's configuration, and how to cut it
witness   what one client on one node sees, with times
cutting   cut, wait until both sides have noticed, heal, repeat
figures   the numbers of a series, their summary, and the JSON that keeps them
drawing   one line for each cut
"""
