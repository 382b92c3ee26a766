"""Real corosync daemons for tests, each on a host of its own that needs no clean-up.

waiting       conditions with deadlines, in place of sleeps
config        a corosync.conf as a dataclass
namespace     a thread's visits to another network namespace
leftovers     what a killed corosync leaves in /dev/shm, and its removal
keeper        the process that is a host: it holds the namespaces and starts the daemon
host          a host as the tests see it
daemon        one corosync on a host
cluster       several, joined by a switch that can be cut
cref          corosync's own C libraries, as the reference to compare with
requirements  what all this needs of the machine
"""
