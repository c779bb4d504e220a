"""Runs once more, alone, the few tests that the suite's last run failed: `make test` does so.

The tests start real processes and wait for what they do. On a machine that is busy with something else a wait may be
too short once in some thousand tests. Such a test is named here as flaky, and is to be mended; a fault fails twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# With more, something is wrong that no second try excuses.
FAILURES_MAX = 3
LAST_FAILED = Path(__file__).resolve().parent / ".pytest_cache" / "v" / "cache" / "lastfailed"


def main() -> int:
    try:
        failed = sorted(json.loads(LAST_FAILED.read_text()))
    except (OSError, ValueError):
        # It did not come as far as a test.
        return 1
    if not 0 < len(failed) <= FAILURES_MAX:
        return 1
    print(f"== {len(failed)} failed: once more, alone", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "tests", "--last-failed"], check=False).returncode
    if code == 0:
        print("\n".join(f"FLAKY {name}: it failed, and passed alone; mend its waiting" for name in failed))
    return code


if __name__ == "__main__":
    sys.exit(main())
