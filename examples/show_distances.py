"""Prints what examples/airports.py wrote: python examples/show_distances.py DIR."""

import csv
import sqlite3
import sys
from pathlib import Path


def show(out: Path) -> None:
    with sqlite3.connect(out / "distances.db") as database:
        rows = database.execute("SELECT origin, destination, km FROM distances").fetchall()
    database.close()
    with (out / "distances.csv").open(newline="") as lines:
        csv_rows = list(csv.DictReader(lines))
    km = {frozenset((origin, destination)): distance for origin, destination, distance in rows}
    codes = list(dict.fromkeys(code for row in rows for code in row[:2]))
    print("\nkm   " + "".join(f"{code:>6}" for code in codes))
    for one in codes:
        cells = (km.get(frozenset((one, other))) for other in codes)
        print(f"{one:<5}" + "".join(f"{'·' if cell is None else round(cell):>6}" for cell in cells))
    print(f"\n{len(rows)} rows in {out / 'distances.db'}, {len(csv_rows)} rows in {out / 'distances.csv'}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1], "distances.db").is_file():
        sys.exit("usage: python examples/show_distances.py DIR, after consecution run examples/airports.py -D out=DIR")
    show(Path(sys.argv[1]))
