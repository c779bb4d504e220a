//! The WSGI side of a worker.
