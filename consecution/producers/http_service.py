"""What an `HttpProducer` answers: a Starlette application.

Rules of this module:
1. Runs in the loop of its server; nothing blocks, and every wait ends.
2. Nothing is taken before the whole request is read and understood: a request is refused as a whole.
3. Errors are JSON with ``error``, what was wrong and what to do; a fault with a place has ``line`` and ``column``.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from consecution.errors import CapacityError
from consecution.producers.http_handover import Handover, Settled
from consecution.producers.http_pages import openapi, page
from consecution.producers.json_items import Bad, item_of_json
from consecution.producers.listening import is_loopback
from consecution.producers.network import Journalled, Refused
from consecution.producers.offers import Offer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consecution.guarantee.messages import Cause
    from consecution.producers.http_rules import HttpCounts, HttpRules
    from consecution.producers.inquiries import Fate, Inquiries
    from consecution.producers.looping import Post
    from consecution.producers.offers import Offers

log = logging.getLogger(__name__)

BODY_S = 30.0
JOURNAL_S = 30.0
ANSWER_S = 10.0
RETRY_AFTER_S = 1
RETRY_LATER_S = 5
KEY_CHARS_MAX = 200
LINES_TYPES = frozenset(
    {"application/x-ndjson", "application/jsonl", "application/json-lines", "application/x-jsonlines"}
)


class Answer(Exception):  # no error of ours: it carries a response out of the depth
    """A refusal.

    Args:
        status: HTTP status.
        error: What was wrong, and what to do.
        headers: To add.
        more: Further fields of the body.
    """

    def __init__(self, status: int, error: str, headers: dict[str, str] | None = None, **more: object) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **more}
        self.headers = headers or {}


class HttpService:
    """The application.

    Attributes:
        app: For the server.
        is_open: Whether items are taken now; may be set from any thread.
        post: Takes words here; set by the server.
    """

    post: Post

    def __init__(self, rules: HttpRules, counts: HttpCounts, offers: Offers, inquiries: Inquiries) -> None:
        self._rules = rules
        self._counts = counts
        self._offers = offers
        self._inquiries = inquiries
        self.is_open = True
        self._is_ending = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/items", self._guarded(self._take_items), methods=["POST"]),
                Route("/receipts/{seq:int}", self._guarded(self._show_receipt), methods=["GET"]),
                Route("/health", self._show_health, methods=["GET"]),
                Route("/openapi.json", self._show_openapi, methods=["GET"]),
                Route("/", self._show_page, methods=["GET"]),
            ],
            exception_handlers={HTTPException: self._on_http_error, 500: self._on_error},
        )

    def end(self) -> None:
        """Let nobody wait any longer."""
        self.is_open = False
        self._is_ending.set()

    def hear(self, word: object) -> None:
        """Hear from the run what became of items."""
        if isinstance(word, Journalled):
            for offer, first_seq, count in word.items:
                if isinstance(offer.sender, Handover):
                    offer.sender.journalled(first_seq, count)
        elif isinstance(word, Refused):
            for offer, count in word.items:
                if isinstance(offer.sender, Handover):
                    offer.sender.refused(count, word.reason)
        elif isinstance(word, Settled):
            word.handover.settled(word)

    # ---- who may ask ---------------------------------------------------------------------------------------------

    def _guarded(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                self._check_sender(request)
                response = await handle(request)
            except Answer as refusal:
                response = JSONResponse(refusal.body, refusal.status, refusal.headers)
            except ClientDisconnect:
                response = Response(status_code=400)  # nobody hears it
            self._counts.add(response.status_code)
            return response

        return answer

    def _check_sender(self, request: Request) -> None:
        """Let in who has a token; without tokens who calls this machine by its name: no page of a browser does."""
        if self._rules.tokens:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            sent = given.strip().encode("utf-8", "replace")
            matches = [hmac.compare_digest(sent, token) for token in self._rules.tokens]  # all, in constant time
            if scheme.lower() != "bearer" or not any(matches):
                error = "no token, or an unknown one; send the header `Authorization: Bearer TOKEN`"
                raise Answer(401, error, {"WWW-Authenticate": "Bearer"})
        elif not self._rules.is_insecure:
            host = request.url.hostname or ""
            if not is_loopback(host) and host != self._rules.host:
                error = f"the request names host {host!r}; without a token only this machine may send, as 127.0.0.1"
                raise Answer(403, error)

    # ---- items ---------------------------------------------------------------------------------------------------

    async def _take_items(self, request: Request) -> Response:
        wait_s = self._wait_of(request)
        is_lines = self._is_lines(request)
        self._check_open()
        items, keys = self._items_of(await self._body(request), request, is_lines=is_lines)
        handover = Handover(len(items), self.post)
        tokens = handover.tokens() if wait_s is not None else None
        offer = Offer(items, handover, keys, tokens)
        self._check_open()
        if not self._offers.offer(offer):
            why = "as many items wait as it holds"
            raise self._busy(why)
        await self._until_journalled(offer, handover)
        if wait_s is not None:
            return await self._until_processed(handover, wait_s, is_lines=is_lines)
        return self._receipts(handover, is_lines=is_lines)

    def _wait_of(self, request: Request) -> float | None:
        """How long to wait for outcomes; None: not at all."""
        wait = request.query_params.get("wait", "journalled")
        if wait not in ("journalled", "processed"):
            raise Answer(400, f"?wait={wait[:50]}: expected 'journalled' or 'processed'")
        given = request.query_params.get("timeout_s")
        try:
            timeout_s = self._rules.wait_max_s if given is None else float(given)
        except ValueError:
            timeout_s = -1.0
        if not 0 <= timeout_s <= 1e9:
            raise Answer(400, f"?timeout_s={(given or '')[:50]}: expected seconds, 0 or more")
        return min(timeout_s, self._rules.wait_max_s) if wait == "processed" else None

    def _is_lines(self, request: Request) -> bool:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in LINES_TYPES:
            return True
        if kind == "application/json":
            return False
        error = f"Content-Type {kind[:50]!r}: expected application/json (one item) or application/x-ndjson (one a line)"
        raise Answer(415, error)

    def _check_open(self) -> None:
        if not self.is_open:
            error = "the run takes no items now: it is paused, drains or ends; send again later"
            raise Answer(503, error, {"Retry-After": str(RETRY_LATER_S)})

    def _busy(self, why: str, **more: object) -> Answer:
        error = f"the pipeline is slower than its senders: {why}; send again later"
        return Answer(429, error, {"Retry-After": str(RETRY_AFTER_S)}, **more)

    async def _body(self, request: Request) -> bytes:
        limit = self._rules.body_bytes_max
        too_large = Answer(413, f"the body is larger than {limit:,} bytes; send it in parts", {"Connection": "close"})
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.stream():
                    body += part
                    if len(body) > limit:
                        raise too_large
        except TimeoutError:
            raise Answer(408, f"the body didn't come within {BODY_S:g} s", {"Connection": "close"}) from None
        return bytes(body)

    def _items_of(self, body: bytes, request: Request, *, is_lines: bool) -> tuple[list[Any], list[str | None] | None]:
        """Read all items of a request, with their keys."""
        header = request.headers.get("idempotency-key")
        if header is not None and not (0 < len(header) <= KEY_CHARS_MAX and header.isprintable()):
            raise Answer(400, f"Idempotency-Key: expected 1 to {KEY_CHARS_MAX} printable characters")
        items: list[Any] = []
        keys: list[str | None] = []
        lines = body.split(b"\n") if is_lines else [body]
        for number, line in enumerate(lines, 1):
            if is_lines and not line.strip():
                continue
            try:
                item = item_of_json(line, number)
                own_key = self._rules.key_of(item) if header is None and self._rules.key_of is not None else None
            except Bad as bad:
                raise _unreadable(bad, number) from bad
            items.append(item)
            keys.append(own_key if header is None else f"{header}/{len(items)}" if is_lines else header)
        if not items:
            raise Answer(422, "the body holds no item", line=1, column=1)
        if len(items) > self._rules.items_max:
            error = f"{len(items):,} items; a request may hold {self._rules.items_max:,}: send them in parts"
            raise Answer(413, error)
        return items, keys if any(key is not None for key in keys) else None

    async def _until_journalled(self, offer: Offer, handover: Handover) -> None:
        """Wait until the run has taken all items; what it doesn't take in time is taken back."""
        if not await handover.wait_taken(self._rules.patience_s):
            left = self._offers.withdraw(offer)
            if left:
                handover.refused(left, "")
            if not await handover.wait_taken(JOURNAL_S):
                error = "the items were not journalled in time (a full disk?); send them again, under the same key"
                raise Answer(503, error, {"Retry-After": str(RETRY_LATER_S)}, taken=len(handover.seqs))
        if not handover.n_refused:
            return
        if handover.reason:
            error = f"{handover.reason}; send again later"
            raise Answer(503, error, {"Retry-After": str(RETRY_LATER_S)}, taken=len(handover.seqs))
        why = f"there was no room for {self._rules.patience_s:g} s"
        raise self._busy(why, taken=len(handover.seqs))  # the first so many

    async def _until_processed(self, handover: Handover, wait_s: float, *, is_lines: bool) -> Response:
        await handover.wait_settled(wait_s, self._is_ending)
        if handover.n_open:
            return self._receipts(handover, is_lines=is_lines)
        body: dict[str, Any] = {"state": "completed", **_urls(handover.seqs, is_lines=is_lines)}
        if not handover.failures:
            return JSONResponse(body)
        failures = [
            {"receipt": _url(handover.seqs[place]), **_failure(attempts, cause)}
            for place, (attempts, cause) in sorted(handover.failures.items())
        ]
        body["state"] = "failed"
        body |= {"failures": failures} if is_lines else failures[0]
        body["error"] = f"{len(failures)} of {len(handover.seqs)} items failed; they are dead letters now"
        return JSONResponse(body, 500)

    def _receipts(self, handover: Handover, *, is_lines: bool) -> Response:
        urls = _urls(handover.seqs, is_lines=is_lines)
        return JSONResponse({"state": "open", **urls}, 202, {"Location": _url(handover.seqs[0])})

    # ---- the rest ------------------------------------------------------------------------------------------------

    async def _show_receipt(self, request: Request) -> Response:
        seq: int = request.path_params["seq"]
        try:
            async with asyncio.timeout(ANSWER_S):
                fate: Fate | None = await asyncio.wrap_future(self._inquiries.ask(seq))
        except (TimeoutError, CapacityError, asyncio.CancelledError):
            error = "the run doesn't answer now; ask again later"
            raise Answer(503, error, {"Retry-After": str(RETRY_LATER_S)}) from None
        if fate is None:
            raise Answer(404, f"there is no item {seq}, or the run keeps no journal that would know of it")
        body = {"receipt": _url(seq), "state": fate.state}
        return JSONResponse(body if fate.state != "failed" else {**body, **_failure(fate.attempts, fate.cause)})

    async def _show_health(self, request: Request) -> Response:
        return JSONResponse({"state": "open" if self.is_open else "closed"}, 200 if self.is_open else 503)

    async def _show_openapi(self, request: Request) -> Response:
        return JSONResponse(openapi(self._rules))

    async def _show_page(self, request: Request) -> Response:
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(page(openapi(self._rules)), headers=headers)

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        self._counts.add(error.status_code)
        return JSONResponse({"error": f"{error.detail}; GET / says what there is"}, error.status_code, error.headers)

    async def _on_error(self, request: Request, error: Exception) -> Response:
        log.error("producer=%s an answer failed: %s: %s", self._rules.name, type(error).__name__, error)
        self._counts.add(500)
        return JSONResponse({"error": "the producer itself failed; its log says how"}, 500)


def _url(seq: int) -> str:
    return f"/receipts/{seq}"


def _urls(seqs: list[int], *, is_lines: bool) -> dict[str, Any]:
    return {"receipts": [_url(seq) for seq in seqs]} if is_lines else {"receipt": _url(seqs[0])}


def _failure(attempts: int, cause: Cause | None) -> dict[str, Any]:
    """A dead letter's cause; tracebacks stay on this side (`consecution failed show`)."""
    told = None if cause is None else {"node": cause.node, "exception": cause.exception, "message": cause.message}
    return {"attempts": attempts, "cause": told}


def _unreadable(bad: Bad, first_line: int) -> Answer:
    line = max(bad.line, first_line)  # who looks at an item alone counts from 1
    return Answer(422, f"{bad}; nothing of the request was taken", line=line, column=bad.column)
