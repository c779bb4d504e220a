"""indrik --chdir examples django_app.wsgi:application"""

from __future__ import annotations

import os
from wsgiref.validate import validator

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_app.settings")

application = get_wsgi_application()
validated = validator(application)
