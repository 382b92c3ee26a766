"""Tests of the cluster model, and of the model against corosync itself."""
