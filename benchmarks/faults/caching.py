"""`python -m benchmarks.faults.caching [--seed N] [--short]`: a picture is made private behind a caching nginx.

A real nginx before a real site keeps the public picture's thumbnail and original, as their headers allow. Then an
editor makes the picture private on the admin's page, and a visitor asks nginx for both until they are gone. The short
form does not wait for that: it looks for how long the headers let nginx keep them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from benchmarks.bars import Bars, Given, experiment
from benchmarks.faults import editors, uploads
from benchmarks.faults.changing import LONGEST, Changer
from benchmarks.faults.site import await_model, await_processes, running, until
from project.services.valkey import free_port

GONE, INDEXED, LOOK_EVERY = 300.0, 120.0, 2.0
_ACCOUNT = "nobody"
_CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=pictures:1m inactive=1d;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{site};
            proxy_set_header Host $http_host;
            proxy_cache pictures;
            add_header X-Cache $upstream_cache_status always;
        }}
    }}
}}
"""


def run(given: Given, bars: Bars) -> None:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if program is None:
        bars.note("skipped", "nginx is not installed (Debian and Ubuntu: apt install nginx-light)")
        return
    with running("worker", "web", settings={"STORAGE": "private", "DOORBELL": "postgresql"}) as site:
        from mediasearch.models import Asset, Job

        await_model()
        await_processes(site, "web", 2)
        editors.create_account()
        pk = uploads.upload(0)
        until(lambda: not Job.objects.unfinished().exists(), INDEXED)
        version = Asset.objects.get(pk=pk).content_hash[:12]
        paths = [f"/thumbnail/{pk}/?v={version}", f"/image/{pk}/original/?v={version}"]
        with _nginx(program, site.port) as address:
            _judge(given, bars, f"http://127.0.0.1:{site.port}", address, pk, paths)


def _judge(given: Given, bars: Bars, site: str, nginx: str, pk: int, paths: Sequence[str]) -> None:
    answers = [requests.get(nginx + path, timeout=LONGEST) for path in (*paths, *paths)]
    cached = time.monotonic()
    bars.equal("sent by nginx", [answer.status_code for answer in answers], [200] * 4)
    bars.equal("of these from its cache", [answer.headers["X-Cache"] for answer in answers[2:]], ["HIT", "HIT"])
    for path, answer in zip(paths, answers, strict=False):
        life = re.search(r"(?:s-maxage|max-age)=(\d+)", answer.headers["Cache-Control"])
        bars.at_most(f"{path.partition('?')[0]} may be kept", float(life[1]) if life else float("inf"), GONE, " s")
    person = Changer(site)
    page = [(name, value) for name, value in person.open(pk) if name != "is_public"]
    bars.equal("made private: what the page said", person.send(pk, page), "")
    private = time.monotonic()
    bars.equal("sent by the site", [_status(site + path) for path in paths], [404, 404])
    if given.short:
        return
    gone = until(lambda: {_status(nginx + path) for path in paths} == {404}, 2 * GONE, LOOK_EVERY)
    bars.at_most("private until nginx sends it no more", float("inf") if gone is None else gone, GONE, " s")
    bars.note("seconds that it was cached before", private - cached)


def _status(address: str) -> int:
    return requests.get(address, timeout=LONGEST).status_code


@contextmanager
def _nginx(program: str, site: int) -> Iterator[str]:
    """Run nginx before a port of this machine, as an account that may do nothing else; give its address."""
    folder, port = Path(tempfile.mkdtemp(prefix="mediasearch-nginx-", dir="/tmp")), free_port()
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, port=port, site=site))
    root = os.geteuid() == 0
    if root:
        shutil.chown(folder, _ACCOUNT)
    command = [program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, user=_ACCOUNT if root else None, group="nogroup" if root else None)
    try:
        address = f"http://127.0.0.1:{port}"
        if until(lambda: _answers(address), LONGEST) is None:
            raise TimeoutError(f"nginx does not answer: {(folder / 'error.log').read_text()}")
        yield address
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=LONGEST).ok
    except requests.ConnectionError:
        return False


if __name__ == "__main__":
    experiment(run)
