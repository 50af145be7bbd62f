"""Bounds what the API reads and holds at once for all clients together, so that its memory is bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tickerlake.errors import TickerlakeError, UsageError

MAX_RESPONSE_BYTES: Final = 32 << 20
"""Of one response. The largest usual one, of 50,000 instruments, has about half of that."""
_MAX_UNSENT_BYTES: Final = 64 << 20
"""Of the responses that are being sent: clients may read slowly."""
_MAX_WAIT_S: Final = 30.0
"""How long a request waits for its turn; programs often give up then."""
_CHUNK_BYTES: Final = 1 << 16
"""As much as the server buffers before it waits for the client to read."""


class Busy(TickerlakeError):
    """Too many requests are being answered."""


class LoadLimits:
    """Turns of requests to be read and sent.

    Parameters
    ----------
    max_unsent_bytes
        Limit of what is held for clients that have not read it yet.
    max_wait_s
        How long a request waits for its turn before it is `Busy`.
    """

    def __init__(self, max_unsent_bytes: int = _MAX_UNSENT_BYTES, max_wait_s: float = _MAX_WAIT_S) -> None:
        self._max_unsent_bytes = max_unsent_bytes
        self._max_wait_s = max_wait_s
        self.unsent_bytes = 0
        self._sent = asyncio.Condition()

    async def respond(
        self, turns: asyncio.Semaphore, handler: Callable[[Request], Any], request: Request
    ) -> Response:
        """Call a handler in a thread when it is its turn, and return its result as JSON.

        Parameters
        ----------
        turns
            How many handlers of the kind may run at once.
        handler
            Reads what was requested.
        request
            The request.

        Raises
        ------
        Busy
            If it was not its turn in time.
        UsageError
            If the response is too large.
        """
        await self._wait(turns.acquire())
        try:
            body = await to_thread.run_sync(lambda: msgspec.json.encode(handler(request)))
            if len(body) > MAX_RESPONSE_BYTES:
                raise UsageError(
                    f"The response would have {len(body):,} bytes, more than {MAX_RESPONSE_BYTES:,}.",
                    "Use a lower limit.",
                )
            # waits during its turn, so that only few bodies wait
            await self._wait(self._reserve(len(body)))
        finally:
            turns.release()
        return _Response(self, body)

    @asynccontextmanager
    async def release(self, count: int) -> AsyncIterator[None]:
        """Return reserved bytes after the block."""
        try:
            yield
        finally:
            self.unsent_bytes -= count
            async with self._sent:
                self._sent.notify_all()

    async def _reserve(self, count: int) -> None:
        async with self._sent:
            await self._sent.wait_for(
                lambda: not self.unsent_bytes or self.unsent_bytes + count <= self._max_unsent_bytes
            )
            self.unsent_bytes += count

    async def _wait(self, turn: Any) -> None:
        try:
            async with asyncio.timeout(self._max_wait_s):
                await turn
        except TimeoutError:
            raise Busy("Too many requests are being answered.", "Try again, with fewer at a time.") from None


class _Response(Response):
    """A response in chunks: the server waits between them until the client has read, and holds no copy."""

    def __init__(self, limits: LoadLimits, body: bytes) -> None:
        super().__init__(body, media_type="application/json")
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._limits.release(len(self.body)):
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            view = memoryview(self.body)
            for start in range(0, len(view) or 1, _CHUNK_BYTES):
                chunk = bytes(view[start : start + _CHUNK_BYTES])
                is_last = start + _CHUNK_BYTES >= len(view)
                await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})
