"""What was seen to happen to corosync 3.1.7 with libqb 2.0.6: a reproducer a finding. See ../README.md."""
