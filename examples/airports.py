"""Distances between the ten busiest airports of the United States, into a database and a CSV file.

consecution run examples/airports.py -D out=DIR     writes DIR/distances.db (table distances) and DIR/distances.csv

Run again into the same folder, the table has each pair once, by its key; the file, which is only appended to, twice.
"""

from collections.abc import Iterator
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import TypedDict

import airportsdata

from consecution import Consecutor, Map, Node, broadcast, options
from consecution.sinks import DatabaseWriter, FileWriter

# By passengers boarded in 2023 (Federal Aviation Administration).
BUSIEST = ["ATL", "DFW", "DEN", "LAX", "ORD", "JFK", "MCO", "LAS", "CLT", "MIA"]
EARTH_RADIUS_KM = 6371.0

Pair = tuple[str, str]
Place = tuple[float, float]


class Distance(TypedDict):
    origin: str
    destination: str
    km: float


def generate_all_combinations(origin: str) -> Iterator[Pair]:
    for destination in BUSIEST[BUSIEST.index(origin) + 1 :]:
        yield origin, destination


class GeocodeAddresses(Node):
    def setup(self) -> None:
        self.airports = airportsdata.load("IATA")

    def place(self, code: str) -> Place:
        airport = self.airports[code]
        return airport["lat"], airport["lon"]

    def process(self, pair: Pair) -> None:
        self.push((pair, self.place(pair[0]), self.place(pair[1])))


def compute_distances(located: tuple[Pair, Place, Place]) -> Distance:
    (origin, destination), start, end = located
    lat1, lon1, lat2, lon2 = map(radians, (*start, *end))
    haversine = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return {"origin": origin, "destination": destination, "km": round(2 * EARTH_RADIUS_KM * asin(sqrt(haversine)), 1)}


def make_folder(path: str) -> Path:
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


out = make_folder(options["out"])
database_writer = DatabaseWriter(out / "distances.db", "distances", key=("origin", "destination"))
file_writer = FileWriter(out / "distances.csv")

flow = Consecutor(
    BUSIEST
    | Map(generate_all_combinations)
    | GeocodeAddresses()
    | compute_distances
    | broadcast(database_writer, file_writer)
)
