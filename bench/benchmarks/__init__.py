"""The benchmarks. Importing a module registers what is in it, and that is the order of the table."""

# ruff: isort: skip_file
from . import calls as calls
from . import events as events
from . import connections as connections
from . import ways as ways
from . import codec as codec
from . import starting as starting
from . import embedded as embedded
from . import watching as watching
