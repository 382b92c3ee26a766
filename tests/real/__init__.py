"""Real corosync daemons for tests, each on a separate host that needs no clean-up.

waiting       conditions with deadlines, instead of sleeps
config        a corosync.conf as a dataclass
namespace     a thread's visits to another network namespace
leftovers     what a killed corosync leaves in /dev/shm, and its removal
keeper        the process that is a host: it holds the namespaces and starts the daemon
host          a host as the tests see it
daemon        one corosync on a host
cluster       several, joined by a switch that can be cut
cref          corosync's own C libraries, as the reference
requirements  the requirements on the machine
"""
