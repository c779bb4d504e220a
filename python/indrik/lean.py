"""The compiled module, loaded so that it takes little memory: for the zygote and its workers.

Its allocator asks the kernel for huge pages. Where that is granted, the first few bytes take 4 MiB
in the zygote, which its workers soon copy, and they never need as much. The supervisor, whose
memory grows with its connections, loads the module as it is.
"""

from __future__ import annotations

import os

# The allocator looks once, when it is loaded; the application need not see it.
_SWITCH = "MIMALLOC_ALLOW_THP"
_is_users = _SWITCH in os.environ
if not _is_users:
    os.environ[_SWITCH] = "0"
try:
    from indrik import _native as _native
finally:
    if not _is_users:
        del os.environ[_SWITCH]
