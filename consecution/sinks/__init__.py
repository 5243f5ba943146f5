"""Where items go; one file for each kind."""

from ..errors import OutputClosed as OutputClosed
from .database_writer import DatabaseWriter as DatabaseWriter
from .errors import SinkError as SinkError
from .file_writer import FileWriter as FileWriter
from .http_writer import HttpWriter as HttpWriter
from .stdout_writer import StdoutWriter as StdoutWriter
