"""A small Django project: settings, urls, views, and one entry each for WSGI and ASGI."""
