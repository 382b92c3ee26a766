"""The services of a node of a simulated cluster, one module each."""
