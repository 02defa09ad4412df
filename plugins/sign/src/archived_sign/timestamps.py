"""Asking a time stamp server (RFC 3161 over HTTP). Knows the network, nothing of PDF.

Two endings besides a token: the server is *down* (the world may mend itself), or it *refused*
(it answered, and the answer is of no use).
"""

from __future__ import annotations

import base64
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import ClassVar, cast

from asn1crypto import cms, core, tsp
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.timestamps.common_utils import TimestampRequestError

from archived_sign.options import TimestampOptions

LARGEST_ANSWER = 1024 * 1024
"""Bytes; a token is 2 to 10 thousand."""

_BUSY = {"system_failure", "time_not_available"}


class _Answer(core.Sequence):  # type: ignore[misc]  # the library has no types
    # The library's own class insists on a token, which a refusal does not have (RFC 3161, 2.4.2).
    _fields: ClassVar = [
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


class ServerDown(Exception):
    """No answer, or one that says "not now"."""


class ServerRefused(Exception):
    """An answer that is not a token for what we asked."""


class HttpTimeStamper(TimeStamper):
    """Asks one server, several times if need be.

    `remaining` tells how many seconds are left for everything; no try goes beyond it.
    """

    def __init__(self, options: TimestampOptions, remaining: Callable[[], float]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library's
        self.waited = 0.0
        """Seconds spent on all questions so far, answered or not, and on the pauses between."""
        self._options = options
        self._remaining = remaining
        self._headers = {
            "Content-Type": "application/timestamp-query",
            "Accept": "application/timestamp-reply",
        }
        if options.user is not None and options.password is not None:
            both = f"{options.user.read_text()}:{options.password.read_text()}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(both.encode()).decode()

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        """A token for the digest. Raises `ServerDown` or `ServerRefused`."""
        try:
            token = await super().async_timestamp(message_digest, md_algorithm)
            info = token["content"]["encap_content_info"]["content"].parsed
            stamped = info["message_imprint"]["hashed_message"].native
        except TimestampRequestError as error:
            raise ServerRefused(str(error)) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ServerRefused(f"its answer is not a time stamp: {error}") from error
        if stamped != message_digest:
            raise ServerRefused("it stamped something else than what was sent")
        return token

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        """One answer, after at most `tries` questions."""
        began = time.monotonic()
        try:
            return self._asked(req.dump(), self._options.tries)
        finally:
            self.waited += time.monotonic() - began

    def _asked(self, body: bytes, tries: int) -> tsp.TimeStampResp:
        for number in range(1, tries + 1):
            try:
                return self._answer(body)
            except ServerDown:
                wait = 2.0**number
                if number == tries or wait >= self._remaining():
                    raise
                time.sleep(wait)
        raise AssertionError("tries is at least one")

    def _answer(self, body: bytes) -> tsp.TimeStampResp:
        content = self._post(body)
        status = _Answer.load(content)["status"]
        if status["status"].native not in {"granted", "granted_with_mods"}:
            failures = sorted(status["fail_info"].native or ())
            sentence = f"it says: {', '.join([*(status['status_string'].native or ()), *failures])}"
            raise (ServerDown if _BUSY & set(failures) else ServerRefused)(sentence)
        return cast(tsp.TimeStampResp, tsp.TimeStampResp.load(content))

    def _post(self, body: bytes) -> bytes:
        limit = min(self._options.timeout.total_seconds(), self._remaining())
        if limit <= 0:
            raise ServerDown("no time is left to ask it")
        request = urllib.request.Request(  # noqa: S310 - the options allow http and https only
            self._options.url, data=body, headers=self._headers, method="POST"
        )
        ends = time.monotonic() + limit
        try:
            with urllib.request.urlopen(  # noqa: S310 - as above
                request, timeout=limit, context=_tls()
            ) as answer:
                if answer.headers.get_content_type() != "application/timestamp-reply":
                    raise ServerRefused(f"it answered {answer.headers.get_content_type()}")
                return _read(answer, ends)
        except urllib.error.HTTPError as error:
            sentence = f"it answered HTTP {error.code}"
            if error.code >= 500 or error.code == 429:
                raise ServerDown(sentence) from error
            raise ServerRefused(sentence) from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerDown(str(getattr(error, "reason", error)) or repr(error)) from error


def _tls() -> ssl.SSLContext:
    """Chain, name and date are checked; not RFC 5280's form, as Python 3.13 would by itself.

    An office's own authority often lacks `keyUsage`. What vouches for the time is in the answer.
    """
    context = ssl.create_default_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _read(answer: http.client.HTTPResponse, ends: float) -> bytes:
    # The socket's limit is per read; a server that drips bytes must not hold the step.
    content = bytearray()
    while part := answer.read1(65536):
        content += part
        if len(content) > LARGEST_ANSWER:
            raise ServerRefused(f"its answer is larger than {LARGEST_ANSWER} bytes")
        if time.monotonic() > ends:
            raise ServerDown("its answer took too long")
    return bytes(content)
