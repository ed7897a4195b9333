"""The proxy by which an address outside is asked."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from liveweights.http.hosts import is_loopback


def find_proxy(url: str) -> str | None:
    """The proxy that the environment names for ``url`` (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, but
    for NO_PROXY), None for no proxy: this machine itself is asked without one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None
