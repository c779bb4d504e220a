"""The compiled module, loaded so that it takes little memory.

Its allocator asks the kernel for huge pages. Where that is granted, the first few bytes take 4 MiB
in the zygote, which its workers soon copy, and they never need as much; in the supervisor, buffers
of connections that have gone idle stay resident between those in use. There they are also given back
at once: measured, that costs nothing, and 10,000 idle connections take a third.
"""

from __future__ import annotations

import os

# The allocator looks once, when it is loaded; the application need not see it.
_SWITCHES = {"MIMALLOC_ALLOW_THP": "0", "MIMALLOC_PURGE_DELAY": "0"}
_ours = {name: value for name, value in _SWITCHES.items() if name not in os.environ}
os.environ.update(_ours)
try:
    from indrik import _native as _native
finally:
    for _name in _ours:
        del os.environ[_name]
