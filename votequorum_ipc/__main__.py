"""`python -m votequorum_ipc` is the command `votequorum-ipc`."""

from .cli import main

main()
