"""Consecution: pipelines of Python functions in which no item is lost.

A pipeline is a graph of nodes; a Consecutor runs it with a guarantee: every item that entered is completely processed,
or is reported as failed with its cause, even if the process dies and is restarted.

>>> from consecution import Collect, Consecutor
>>> report = Consecutor([1, 2, 3] | Collect("out"), journal=None).run()
>>> report.collected["out"]
[1, 2, 3]
"""

from .consecutor import Consecutor as Consecutor
from .errors import CapacityError as CapacityError
from .errors import ClusterError as ClusterError
from .errors import CodecError as CodecError
from .errors import ConsecutionError as ConsecutionError
from .errors import GraphError as GraphError
from .errors import JournalError as JournalError
from .errors import ProtocolError as ProtocolError
from .errors import SourceError as SourceError
from .errors import UserCodeError as UserCodeError
from .graph import Broadcast as Broadcast
from .graph import Chunk as Chunk
from .graph import Collect as Collect
from .graph import Dag as Dag
from .graph import Filter as Filter
from .graph import FlatMap as FlatMap
from .graph import Map as Map
from .graph import Merge as Merge
from .graph import Node as Node
from .graph import Route as Route
from .graph import broadcast as broadcast
from .graph import merge as merge
from .graph import route as route
from .guarantee.batch_ends import BatchEnd as BatchEnd
from .guarantee.levels import Robustness as Robustness
from .local.receipts import Receipt as Receipt
from .options import options as options
from .producers import CursorProducer as CursorProducer
from .producers import GeneratorProducer as GeneratorProducer
from .producers import HttpProducer as HttpProducer
from .producers import IntervalProducer as IntervalProducer
from .producers import PipeProducer as PipeProducer
from .producers import Producer as Producer
from .producers import Pusher as Pusher
from .producers import ScheduledProducer as ScheduledProducer
from .producers import TcpProducer as TcpProducer
from .producers import TimedProducer as TimedProducer
from .report import Failure as Failure
from .report import Progress as Progress
from .report import Report as Report
from .running import Running as Running
