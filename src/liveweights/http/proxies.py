"""The proxy by which an address outside is asked."""

from __future__ import annotations

import ipaddress
import logging
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from liveweights.http.hosts import is_loopback

log = logging.getLogger(__name__)


def find_proxy(url: str) -> str | None:
    """The proxy that the environment names for ``url`` (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, but
    for NO_PROXY, in which networks and ports may stand), None for no proxy: this machine itself is
    asked without one. The log says which it is."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if (
        not proxy
        or not host
        or _is_here(host)
        or _is_excepted(host, parts.port, proxies.get("no", ""))
    ):
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    where = urlsplit(proxy).netloc.rpartition("@")[2]
    if not proxy.startswith(("http://", "https://")):
        log.warning("%s is asked directly: the proxy %s is of a kind not known here", host, where)
        return None
    log.info("%s is asked by the proxy %s", host, where)
    return proxy


def _is_excepted(host: str, port: int | None, exceptions: str) -> bool:
    """Whether ``exceptions``, as NO_PROXY has them, name the host: by itself, by a domain that it
    is in, by a network, each perhaps with a port, or with all others (``*``)."""
    if proxy_bypass(host):
        return True
    for entry in exceptions.lower().replace(",", " ").split():
        name, _, its_port = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
        if its_port and its_port != str(port):
            continue
        name = name.lstrip("*.").rstrip(".")
        if not name or host == name or host.endswith(f".{name}") or _is_in(host, name):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _is_here(host: str) -> bool:
    try:
        return is_loopback(host) or ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
