"""`votequorum-ipc monitor --live`: the full screen for operators.

Strategy: the data, its source and its display are separate. `feed` asks corosync, under asyncio. `timeline`
keeps what happened, in bounded memory, and `causes` says why. `standing` decides what may be shown as
current: an old answer is not shown as quorate. `outlook` says what would happen if a node failed. `panes`
turns all of that into text for a given size, and `app` is the textual program that draws it. `saving` writes
the timeline into files, `demo` runs a cluster with failures.

Only `app` imports textual, so everything else is tested without a terminal.
"""
