"""Links over ZeroMQ. Nothing outside of this package imports zmq."""

from consecution.transport.zeromq.bridge import Answered as Answered
from consecution.transport.zeromq.bridge import Asked as Asked
from consecution.transport.zeromq.bridge import BridgeSockets as BridgeSockets
from consecution.transport.zeromq.control import ControlClient as ControlClient
from consecution.transport.zeromq.control import ControlServer as ControlServer
from consecution.transport.zeromq.control import News as News
from consecution.transport.zeromq.control import Reply as Reply
from consecution.transport.zeromq.control import Request as Request
from consecution.transport.zeromq.keys import Keys as Keys
from consecution.transport.zeromq.keys import new_keys as new_keys
from consecution.transport.zeromq.keys import read_keys as read_keys
from consecution.transport.zeromq.keys import write_keys as write_keys
from consecution.transport.zeromq.transport import ZmqTransport as ZmqTransport
