"""Indrik: an application server for Python web applications, written in Rust.

Start it with the ``indrik`` command or ``python -m indrik``. This package holds what runs in
Python: the zygote that forks workers, the workers, and what they need to load the application.
"""
