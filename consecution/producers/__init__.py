"""Where items come from; one file for each kind."""

from .base import Producer as Producer
from .base import Read as Read
from .base import SourceClass as SourceClass
from .choose import as_producer as as_producer
from .cursor import CursorProducer as CursorProducer
from .generator import GeneratorProducer as GeneratorProducer
from .http import HttpProducer as HttpProducer
from .iterable import IterableProducer as IterableProducer
from .pipe import PipeProducer as PipeProducer
from .pusher import Pusher as Pusher
from .sequence import SequenceProducer as SequenceProducer
from .tcp import TcpProducer as TcpProducer
from .timed import IntervalProducer as IntervalProducer
from .timed import ScheduledProducer as ScheduledProducer
from .timed import TimedProducer as TimedProducer
