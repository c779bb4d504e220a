"""The bench harness. `bench/run.py` is the entry; each module here is one chapter of `bench/README.md`."""
