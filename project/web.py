"""How gunicorn serves the site: `gunicorn --config python:project.web project.wsgi`."""

from __future__ import annotations

import os

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_PROCESSES", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
graceful_timeout = 5
control_socket_disable = True  # Two sites on one machine would fight over it; gunicorn before 25 has none.
