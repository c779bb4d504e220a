"""A package ``gunicorn`` for programs that start ``python -m gunicorn`` or the command ``gunicorn``: it is Indrik.

It lies in a directory of its own and is found only where that comes first on ``PYTHONPATH``:

    PYTHONPATH=$(python -m indrik.stand_in) mlflow server

Nothing that is installed is touched, and without the variable everything is as before.
"""

from __future__ import annotations

import os

DIRECTORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "first_on_path")
"""What is to come first on ``PYTHONPATH``."""
