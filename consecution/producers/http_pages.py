"""What an `HttpProducer` says of itself: as OpenAPI for programs, as a page for people. Pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consecution.producers.http_rules import HttpRules

ERROR = {"$ref": "#/components/schemas/Error"}
STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}code{background:#eee;padding:0 .2em}"
)
STYLE += "td{padding:.1em 1em .1em 0;vertical-align:top}"


def openapi(rules: HttpRules) -> dict[str, Any]:
    """The interface in OpenAPI 3.1."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Producer {rules.name}",
            "version": "1",
            "description": "Takes items into a pipeline. What is answered with 202 or 200 is never lost.",
        },
        "paths": {
            "/items": {"post": _post(rules)},
            "/receipts/{seq}": {"get": _receipt()},
            "/health": {"get": _health()},
        },
        "components": {"schemas": _schemas()},
    }
    if rules.tokens:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path in ("/items", "/receipts/{seq}"):
            for operation in document["paths"][path].values():
                operation["security"] = [{"token": []}]
                operation["responses"]["401"] = _answer("No token, or an unknown one.", ERROR)
    return document


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _post(rules: HttpRules) -> dict[str, Any]:
    taken = {"$ref": "#/components/schemas/Taken"}
    body_text = f"At most {rules.body_bytes_max:,} bytes."
    return {
        "summary": "Hand items over",
        "description": "A JSON body is one item; each line of a body of JSON lines is one. All are taken, or none: but "
        "when 429 or 503 says `taken`, the first so many were.",
        "parameters": [
            {
                "name": "wait", "in": "query", "schema": {"enum": ["journalled", "processed"], "default": "journalled"},
                "description": "What the answer waits for.",
            },
            {
                "name": "timeout_s", "in": "query", "schema": {"type": "number", "maximum": rules.wait_max_s},
                "description": "How long to wait with wait=processed; then 202 says that it is still open.",
            },
            {
                "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 200},
                "description": "Sent again under the same key, items are not taken a second time. In a body of lines "
                "the Nth item has the key KEY/N.",
            },
        ],
        "requestBody": {
            "required": True,
            "description": body_text,
            "content": {
                "application/json": {"schema": {}},
                "application/x-ndjson": {"schema": {"type": "string", "description": "One JSON value a line."}},
            },
        },
        "responses": {
            "200": _answer("With wait=processed: all items are completely processed.", taken),
            "202": _answer("The items are in the journal: they will be processed, or reported as failed.", taken),
            "400": _answer("A parameter or the key is wrong.", ERROR),
            "403": _answer("Without a token only this machine may send.", ERROR),
            "408": _answer("The body didn't come in time.", ERROR),
            "413": _answer("The body is too large, or holds too many items.", ERROR),
            "415": _answer("The content type is neither JSON nor JSON lines.", ERROR),
            "422": _answer("The body is no JSON; names the place.", ERROR),
            "429": _answer("The pipeline is slower than its senders: send again after Retry-After seconds.", ERROR),
            "500": _answer("With wait=processed: an item failed for good; names the cause.", taken),
            "503": _answer("The run takes nothing now (paused, draining, ending, or its disk is full).", ERROR),
        },
    }  # fmt: skip


def _receipt() -> dict[str, Any]:
    return {
        "summary": "What became of an item",
        "parameters": [{"name": "seq", "in": "path", "required": True, "schema": {"type": "integer"}}],
        "responses": {
            "200": _answer("Its state.", {"$ref": "#/components/schemas/Receipt"}),
            "404": _answer("There is no such item.", ERROR),
            "503": _answer("The run doesn't answer now.", ERROR),
        },
    }


def _health() -> dict[str, Any]:
    state = {"type": "object", "properties": {"state": {"enum": ["open", "closed"]}}}
    return {
        "summary": "Whether items are taken",
        "responses": {"200": _answer("They are.", state), "503": _answer("They are not.", state)},
    }


def _schemas() -> dict[str, Any]:
    cause = {
        "type": ["object", "null"],
        "properties": {name: {"type": "string"} for name in ("node", "exception", "message")},
    }
    receipt = {
        "receipt": {"type": "string", "description": "Path of the receipt."},
        "state": {"enum": ["open", "completed", "failed"]},
        "attempts": {"type": "integer"},
        "cause": cause,
    }
    failure = {"type": "object", "properties": {name: receipt[name] for name in ("receipt", "attempts", "cause")}}
    return {
        "Receipt": {"type": "object", "properties": receipt},
        "Taken": {
            "type": "object",
            "properties": {
                **receipt,
                "receipts": {"type": "array", "items": {"type": "string"}, "description": "For a body of lines."},
                "failures": {"type": "array", "items": failure, "description": "For a body of lines."},
            },
        },
        "Error": {
            "type": "object",
            "required": ["error"],
            "properties": {
                "error": {"type": "string", "description": "What was wrong, and what to do."},
                "line": {"type": "integer"},
                "column": {"type": "integer"},
                "taken": {"type": "integer", "description": "How many items, from the first on, were taken."},
            },
        },
    }


def page(document: dict[str, Any]) -> str:
    """The same for people: one page, without scripts, nothing of which comes from elsewhere."""
    title = escape(document["info"]["title"])
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{title}</h1><p>{escape(document['info']['description'])} ")
    parts.append("For programs: <a href='/openapi.json'>openapi.json</a>.</p>")
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            parts.append(f"<h2><code>{verb.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}. ")
            parts.append(f"{escape(operation.get('description', ''))}</p>")
            if "security" in operation:
                parts.append("<p>Needs the header <code>Authorization: Bearer TOKEN</code>.</p>")
            rows = [(one["name"], one.get("description", "")) for one in operation.get("parameters", ())]
            rows += [(status, one["description"]) for status, one in sorted(operation["responses"].items())]
            cells = "".join(f"<tr><td><code>{escape(a)}</code></td><td>{escape(b)}</td></tr>" for a, b in rows)
            parts.append(f"<table>{cells}</table>")
    return "".join(parts) + "</html>\n"
