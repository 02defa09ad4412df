"""One HTTP request to a server of the public key infrastructure, kept on a short lead.

It ends at its deadline however slowly the answer drips, takes no more than so many bytes, and
never follows a redirect to another host: what was allowed is the address in the configuration or
in a certificate, not wherever its server points to.
"""

from __future__ import annotations

import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class ServerDown(Exception):
    """No answer, or one that says "not now"."""


class ServerRefused(Exception):
    """An answer that is of no use."""


class _SameHost(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        # The same host: not another port either, but http may become https.
        same = here.netloc == there.netloc and there.scheme in {here.scheme, "https"}
        if req.data is not None or not same:
            raise ServerRefused(f"it redirects to {there.scheme}://{there.netloc}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ask(
    url: str, body: bytes | None, headers: Mapping[str, str], *, seconds: float, largest: int
) -> tuple[str, bytes]:
    """POST `body`, or GET without one. Gives the media type and the content.

    `seconds` are for everything, `largest` is in bytes. Raises `ServerDown` and `ServerRefused`.
    """
    if seconds <= 0:
        raise ServerDown("no time is left to ask it")
    ends = time.monotonic() + seconds
    request = urllib.request.Request(  # noqa: S310 - the callers allow http and https only
        url, data=body, headers=dict(headers)
    )
    opener = urllib.request.build_opener(_SameHost, urllib.request.HTTPSHandler(context=_tls()))
    try:
        with opener.open(request, timeout=seconds) as answer:
            return answer.headers.get_content_type(), _read(answer, ends, largest)
    except urllib.error.HTTPError as error:
        sentence = f"it answered HTTP {error.code}"
        if error.code >= 500 or error.code == 429:
            raise ServerDown(sentence) from error
        raise ServerRefused(sentence) from error
    except (OSError, http.client.HTTPException) as error:
        raise ServerDown(str(getattr(error, "reason", error)) or repr(error)) from error


def _tls() -> ssl.SSLContext:
    """Chain, name and date are checked; not RFC 5280's form, as Python 3.13 would by itself.

    An office's own authority often lacks `keyUsage`. What vouches for the answer is in it.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _read(answer: http.client.HTTPResponse, ends: float, largest: int) -> bytes:
    # The socket's limit is per read; a server that drips bytes must not hold the step.
    content = bytearray()
    while part := answer.read1(65536):
        content += part
        if len(content) > largest:
            raise ServerRefused(f"its answer is larger than {largest} bytes")
        if time.monotonic() > ends:
            raise ServerDown("its answer took too long")
    return bytes(content)
