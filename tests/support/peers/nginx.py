"""nginx, as the proxy that hospitals put before an archive's DICOMweb."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running import free_port, program, wait_until

SITE = """server {{
  listen 127.0.0.1:{port} ssl;
  ssl_certificate {certificate}; ssl_certificate_key {key};
  ssl_client_certificate {authority}; ssl_verify_client on;
  location / {{
    if ($http_authorization != "Bearer {token}") {{ return 401; }}
    proxy_pass {target};
    proxy_set_header Host $http_host; proxy_set_header Forwarded "proto=https;host=$http_host";
  }}
}}"""


@contextmanager
def guarded(folder: Path, target: str, certificate: Path, authority: Path, token: str) -> Iterator[str]:
    """The address at which a server is reached over HTTPS, by a client certificate of an authority and a bearer token.

    Parameters
    ----------
    folder
        Where nginx keeps its files.
    certificate
        That of nginx; its key lies beside it.
    """
    port = free_port()
    key = certificate.with_suffix(".key")
    site = SITE.format(port=port, certificate=certificate, key=key, authority=authority, token=token, target=target)
    with running_nginx(folder, site):
        yield f"https://127.0.0.1:{port}"


@contextmanager
def running_nginx(folder: Path, site: str) -> Iterator[None]:
    """Serve what a configuration of servers says while the block runs."""
    places = "".join(f"{each}_temp_path {folder}; " for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root; " if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; {user}pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ include /etc/nginx/mime.types; access_log off; {places}\n{site} }}"
    )
    with subprocess.Popen([program("nginx"), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL) as process:
        try:
            wait_until((folder / "nginx.pid").is_file, "nginx to start", 30)
            yield
        finally:
            process.terminate()
