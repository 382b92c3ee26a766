"""The benchmarks. Importing a module registers its benchmarks; the table is in the order of import."""

# ruff: isort: skip_file
from . import calls as calls
from . import events as events
from . import connections as connections
from . import ways as ways
from . import codec as codec
from . import starting as starting
from . import embedded as embedded
from . import watching as watching
