"""Counts the words of a text and prints them by falling count, as word<TAB>count.

cat README.md | consecution run examples/wordcount.py
"""

import sys
from collections import Counter

from consecution import Consecutor, FlatMap, Node
from consecution.sinks import StdoutWriter


class Count(Node):
    def setup(self) -> None:
        self.counts: Counter[str] = Counter()

    def process(self, word: str) -> None:
        self.counts[word] += 1

    def finish(self) -> None:
        for word, count in sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0])):
            self.push(f"{word}\t{count}")


flow = Consecutor(sys.stdin | FlatMap(str.split) | Count() | StdoutWriter())
