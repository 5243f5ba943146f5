"""Logs from a file that grows and from senders over HTTP, parsed, enriched and written to a database and to files.

consecution run examples/log_etl.py -D out=DIR [-D log=app.log] [-D port=8080] [-D owners=http://127.0.0.1:8090]
                                    [-D database=postgresql+psycopg://me@db/logs]

A line, or a posted item, is a JSON object with id, at, level, host and text. Errors and warnings get their host's owner
from an HTTP service (GET /owners/HOST gives {"owner": …}), sixteen requests at a time; both go on in chunks of 500, or
after a second, into the table "logs". All others go into DIR/quiet.jsonl, a new file each hour. A line that is no JSON
is a dead letter: consecution failed list.

It goes on until it is stopped; Ctrl-C finishes what has entered. The table knows a line by its id, so that a replay,
also after a kill, writes none twice.
"""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote
from urllib.request import urlopen

from consecution import Chunk, Consecutor, FlatMap, HttpProducer, Map, Node, PipeProducer, merge, options, route
from consecution.sinks import DatabaseWriter, FileWriter

OUT = Path(options.get("out", "."))
OUT.mkdir(parents=True, exist_ok=True)
OWNERS = options.get("owners", "http://127.0.0.1:8090")
FIELDS = ("id", "at", "level", "host", "text")
LOUD = ("ERROR", "WARNING")


class Line(TypedDict):
    id: str
    at: str
    level: str
    host: str
    text: str


class Owned(Line):
    owner: str


def parse(line: str | Line) -> Line:
    """A line of the file is text; a posted item is an object already."""
    found = json.loads(line) if isinstance(line, str) else line
    return Line(id=found["id"], at=found["at"], level=found["level"].upper(), host=found["host"], text=found["text"])


def loud_or_quiet(line: Line) -> str:
    return "loud" if line["level"] in LOUD else "quiet"


class AddOwner(Node):
    """Asks the service, for each host once."""

    def setup(self) -> None:
        self.owners: dict[str, str] = {}

    async def process(self, line: Line) -> None:
        host = line["host"]
        if host not in self.owners:
            self.owners[host] = await asyncio.to_thread(self.ask, host)
        self.push({**line, "owner": self.owners[host]})

    def ask(self, host: str) -> str:
        with urlopen(f"{OWNERS}/owners/{quote(host, safe='')}", timeout=5) as answer:
            owner: str = json.load(answer)["owner"]
            return owner


def rows_of(chunk: list[Owned]) -> list[Owned]:
    return chunk


file = PipeProducer(options.get("log", "app.log"), follow=True, name="file")
posts = HttpProducer(port=int(options.get("port", "8080")), key="id", name="posts")
database = DatabaseWriter(options.get("database", str(OUT / "logs.db")), "logs", key="id", name="database")
copies = FileWriter(OUT / "loud.jsonl", name="loud_file")
quiet = FileWriter(OUT / "quiet.jsonl", rotate_every=timedelta(hours=1), name="quiet_file")

loud = (
    AddOwner("add_owner", concurrency=16, process_timeout_s=10.0)
    | Chunk(500, within=timedelta(seconds=1), name="chunk")
    | FlatMap(rows_of)
    | [database, copies]
)
lines = merge(file, posts) | Map(parse) | route(loud_or_quiet, {"loud": loud, "quiet": quiet})

flow = Consecutor(lines)
