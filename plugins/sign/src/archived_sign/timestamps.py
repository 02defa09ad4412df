"""Asking time stamp servers (RFC 3161 over HTTP), one after the other. Nothing of PDF.

Two endings besides a token: all servers are *down* (the world may mend itself), or they *refused*
(they answered, and no answer is of use).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

from asn1crypto import cms, core, tsp
from pyhanko.sign.timestamps import TimeStamper

from archived_sign.options import TimestampOptions, TimestampServer
from archived_sign.servers import ServerDown, ServerRefused, ask
from archived_sign.token import flaw_of

LARGEST_ANSWER = 1024 * 1024
"""Bytes; a token is 2 to 10 thousand."""

_BUSY = {"system_failure", "time_not_available"}


class _Answer(core.Sequence):  # type: ignore[misc]  # the library has no types
    # The library's own class insists on a token, which a refusal does not have (RFC 3161, 2.4.2).
    _fields: ClassVar = [
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


class HttpTimeStamper(TimeStamper):
    """Asks the servers in their order, each several times if need be.

    A server that gave a token is the first to be asked for the next one: a signature's time stamps
    then come from one authority, whose certificates are in the file already. `remaining` tells how
    many seconds are left for everything; no try goes beyond it.
    """

    def __init__(self, options: TimestampOptions, remaining: Callable[[], float]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library's
        self.waited = 0.0
        """Seconds spent on all questions so far, answered or not, and on the pauses between."""
        self.server = ""
        """The address of the server that gave the last token."""
        self._largest = 0
        self._tries, self._timeout = options.tries, options.timeout
        self._remaining = remaining
        self._servers: Sequence[TimestampServer] = options.in_order()
        self._headers = {server.url: _headers(server) for server in self._servers}

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        """A token for the digest, of the first server that gives a sound one.

        Raises `ServerDown` when a server may give one later, `ServerRefused` when none will.
        """
        failed: list[ServerDown | ServerRefused] = []
        for server in self._servers:
            began = time.monotonic()
            try:
                token = await self._token(server, message_digest, md_algorithm)
            except (ServerDown, ServerRefused) as error:
                failed.append(error)
                continue
            finally:
                self.waited += time.monotonic() - began
            self.server, self._largest = server.url, max(self._largest, len(token.dump()))
            self._servers = (server, *(s for s in self._servers if s is not server))
            return token
        raise self._failure(failed)

    def room(self, unknown: int) -> int:
        """Hexadecimal digits to keep for the next token: a quarter more than the largest so far
        had; `unknown` when there was none."""
        return self._largest * 5 // 4 * 2 or unknown

    def _failure(self, failed: Sequence[ServerDown | ServerRefused]) -> ServerDown | ServerRefused:
        if len(failed) == 1:
            return failed[0]
        told = zip(self._servers, failed, strict=True)
        sentence = "; ".join(f"{server.url}: {error}" for server, error in told)
        may_mend = any(isinstance(error, ServerDown) for error in failed)
        return ServerDown(sentence) if may_mend else ServerRefused(sentence)

    async def _token(
        self, server: TimestampServer, digest: bytes, algorithm: str
    ) -> cms.ContentInfo:
        nonce, request = self.request_cms(digest, algorithm)  # type: ignore[no-untyped-call]  # the library's
        answer = self._asked(server, request.dump())
        try:
            token = answer["time_stamp_token"]
            flaw = await flaw_of(token, digest, algorithm, nonce)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ServerRefused(f"its answer is not a time stamp: {error}") from error
        if flaw:
            raise ServerRefused(flaw)
        return token

    def _asked(self, server: TimestampServer, body: bytes) -> tsp.TimeStampResp:
        for number in range(1, self._tries + 1):
            try:
                return self._answer(server, body)
            except ServerDown:
                wait = 2.0**number
                if number == self._tries or wait >= self._remaining():
                    raise
                time.sleep(wait)
        raise AssertionError("tries is at least one")

    def _answer(self, server: TimestampServer, body: bytes) -> tsp.TimeStampResp:
        patience = (server.timeout or self._timeout).total_seconds()
        seconds = min(patience, self._remaining())
        kind, content = ask(
            server.url, body, self._headers[server.url], seconds=seconds, largest=LARGEST_ANSWER
        )
        if kind != "application/timestamp-reply":
            raise ServerRefused(f"it answered {kind}")
        try:
            status = _Answer.load(content)["status"]
            state, failures = status["status"].native, sorted(status["fail_info"].native or ())
            told = status["status_string"].native or ()
        except (ValueError, TypeError) as error:
            raise ServerRefused(f"its answer is not a time stamp: {error}") from error
        if state not in {"granted", "granted_with_mods"}:
            sentence = f"it says: {', '.join([*told, *failures])}"
            raise (ServerDown if _BUSY & set(failures) else ServerRefused)(sentence)
        return cast(tsp.TimeStampResp, tsp.TimeStampResp.load(content))


def _headers(server: TimestampServer) -> dict[str, Any]:
    headers = {
        "Content-Type": "application/timestamp-query",
        "Accept": "application/timestamp-reply",
    }
    if server.user is not None and server.password is not None:
        both = f"{server.user.read_text()}:{server.password.read_text()}"
        headers["Authorization"] = "Basic " + base64.b64encode(both.encode()).decode()
    return headers
