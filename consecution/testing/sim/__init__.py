"""A simulator: the real cores on virtual time, network and disks, with an oracle that counts true trees."""

from consecution.testing.sim.flow_world import FlowWorld as FlowWorld
from consecution.testing.sim.promises import Promise as Promise
from consecution.testing.sim.promises import Violation as Violation
from consecution.testing.sim.scenario import Family as Family
from consecution.testing.sim.scenario import Fault as Fault
from consecution.testing.sim.scenario import Kind as Kind
from consecution.testing.sim.scenario import Scenario as Scenario
from consecution.testing.sim.scenario import scenario_of as scenario_of
from consecution.testing.sim.world import SimWorld as SimWorld
