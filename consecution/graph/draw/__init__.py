"""Pictures of a Dag, or of its spec: for a terminal, Mermaid, Graphviz and SVG."""

from .dot import dot as dot
from .mermaid import mermaid as mermaid
from .svg import svg as svg
from .text import text as text
