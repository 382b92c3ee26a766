"""`votequorum-ipc monitor --live`: the screen that an operator leaves open.

Strategy: what is shown, where it comes from and how it is drawn are apart. `feed` asks corosync, under
asyncio. `timeline` keeps what happened, in bounded memory, and `causes` says why. `standing` decides what may
be shown as known at this moment: an answer that has grown old is not shown as quorate. `outlook` says what
would happen if a node failed. `panes` turns all of that into text for a given size, and `app` is the textual
program that draws it. `saving` writes the timeline into files, `demo` is a cluster in which things happen.

Nothing but `app` imports textual, so everything else is tested without a terminal.
"""
