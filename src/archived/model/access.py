"""What every step may read beside its own files, as data: software and its settings."""

from __future__ import annotations

SOFTWARE = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/var/cache/fontconfig",
    "/var/lib/ghostscript",
)
"""Folders of programs, libraries and fonts. The interpreter's own are not among them."""

SETTINGS = (
    # No keys: neither ssl/private nor pki/tls/private.
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "ld.so.preload",
    "localtime",
    "timezone",
    "locale.alias",
    "locale.conf",
    "fonts",
    "mime.types",
    "magic",
    "papersize",
    "passwd",
    "group",
    "nsswitch.conf",
    "ssl/certs",
    "ssl/openssl.cnf",
    "ca-certificates",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "crypto-policies",
    "ghostscript",
    "java-*",
    "python3*",
    "ImageMagick-*",
)
"""Below /etc; shell patterns."""

NETWORK_SETTINGS = ("resolv.conf", "hosts", "host.conf", "gai.conf", "services", "protocols")
"""Below /etc, for a step that has the network."""

NAMED_BY_ENVIRONMENT = ("TESSDATA_PREFIX", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZDIR")
"""Variables that name further folders of data."""
