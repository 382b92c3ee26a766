"""Ready-made decisions for quorum devices. Each is a program that runs; see docs/quorum-devices.md."""
