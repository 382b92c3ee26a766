"""The nth system call fails, for every n.

  python -m tests.reliability.syscalls

Strategy: a subject process connects, calls, takes events and closes, while strace makes one of its system
calls fail. Each case is a scenario, a kind of call, an errno, and the number of the call that fails. The
scenario must succeed or end in a `CsError`, in time, with nothing left behind. strace attaches when the
subject is ready, so that the interpreter's start is not disturbed. The subject forks a child for each case,
so it imports only once.

faults      which kinds of call may fail, and how
scenarios   what the subject does
subject     the process that does it
sweep       runs cases and judges them
"""
