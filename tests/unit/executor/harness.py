"""One executor core with its runners and a ledger, driven by hand: every frame, sum and verdict can be looked at."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any

from consecution import Consecutor
from consecution.executor.core import ExecutorCore
from consecution.executor.events import Arrived, Credit, Judged, Send, Taken, Tell
from consecution.executor.frames import EndMark, Frame
from consecution.executor.own import OwnValues
from consecution.executor.runner import StageRunner
from consecution.guarantee.ids import id_maker
from consecution.guarantee.ledger import Ledger
from consecution.guarantee.levels import Robustness
from consecution.guarantee.messages import Init, Placed, Sum, Verdict
from consecution.guarantee.window import Window
from consecution.local.working import Working
from consecution.plan.stages import plan_of
from consecution.values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consecution.executor.events import Instruction
    from consecution.guarantee.messages import Root

EXECUTOR, PRODUCER, OTHER, OWN = 11, 12, 13, 100


class Harness:
    """A graph on one executor, fed by hand through its only entry.

    Args:
        dag: The graph.
        level: The robustness.
        credit_items: How many items may be under way to one task.
        remote_credit: Credit of tasks that were given up (`give_up`).

    Attributes:
        elsewhere: Who runs the tasks that were given up; None for nobody.
        verdicts: What the ledger judged, in order.
        told: Inits and sums in the order in which the ledger heard them.
        sent: Messages between tasks, in order.
    """

    def __init__(
        self,
        dag: object,
        *,
        level: Robustness = Robustness.REPLAY,
        credit_items: int = 4096,
        remote_credit: Callable[[int], bool] | None = None,
    ) -> None:
        self.dag = Consecutor(dag, "harness", journal=None).dag
        self.plan = plan_of(self.dag, [self.dag.entries])
        self.ledger = Ledger()
        new_id = id_maker(bytes(32))
        self.elsewhere: int | None = OTHER
        self.core = ExecutorCore(
            self.plan,
            level,
            lambda task: EXECUTOR if task in self.runners else self.elsewhere,
            credit_items=credit_items,
            remote_credit=remote_credit,
        )
        self.runners: dict[int, StageRunner] = {}
        living = {EXECUTOR, PRODUCER, OTHER}
        for task in range(self.plan.n_tasks):
            runner = self.runners[task] = StageRunner(self.dag, self.plan, task, new_id=new_id, now=lambda: 0.0)
            runner.setup()
            living.add(OWN + task)
            window = Window(
                producer=OWN + task, level=level, replays_max=1, pending_max=100, new_root=new_id, snapshot=snapshot,
                exposed=lambda node: frozenset(),
            )  # fmt: skip
            self.core.add_task(task, OwnValues(task, EXECUTOR, window, new_id), runner.finishing, runner.timers)
        self.ledger.handle(Placed(1, living), 0.0)
        self.working = Working(self.runners, None)
        self.new_id = new_id
        self.now = 0.0
        self.verdicts: list[Verdict] = []
        self.told: list[Init | Sum] = []
        self.sent: list[Send] = []

    def feed(self, items: list[Any], *, root: Root, task: int = 0, solo: bool = False) -> Frame:
        """Introduce a batch as one frame under a root."""
        edge = self.new_id()
        frame = Frame(task, items, (root,), (edge,), (PRODUCER,), None, solo)
        self.tell([Init(root, PRODUCER, edge, frozenset((EXECUTOR,)))])
        self.carry(self.core.handle(Arrived(task, -1, frame), self.now))
        return frame

    def give_up(self, task: int) -> None:
        """Let another executor run a task; what is sent to it is only noted."""
        self.core.drop_task(task)
        del self.runners[task]

    def end(self, *tasks: int) -> None:
        """The producer has ended."""
        for task in tasks or (0,):
            self.carry(self.core.handle(Arrived(task, -1, EndMark(-1)), self.now))

    def step(self) -> bool:
        """Run one piece of work, 50 ms after the one before; False when there is none and nothing is due."""
        self.now += 0.05
        for ran in self.working.resumed():
            self.carry(self.core.handle(ran, self.now))
        work = self.core.next_work(self.now)
        instructions = self.core.instructions()
        self.carry(instructions)
        if work is None:
            due_s, files = self.working.waits_for()
            if files:
                select.select(files, [], [], due_s)
            return bool(instructions or files) or self.core.next_time(self.now) is not None
        self.carry(self.core.handle(self.working.run(work), self.now))
        self.core.check_invariants()
        self.ledger.check_invariants()
        return True

    def run(self) -> None:
        """Work until nothing is left to do."""
        while self.step():
            pass

    def tell(self, messages: Sequence[Init | Sum]) -> None:
        for message in messages:
            self.told.append(message)
            verdicts = [v for v in self.ledger.handle(message, self.now) if isinstance(v, Verdict)]
            for verdict in verdicts:
                if verdict.producer >= OWN:
                    self.carry(self.core.handle(Judged(verdict.producer - OWN, verdict), self.now))
                else:
                    self.verdicts.append(verdict)

    def carry(self, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            if isinstance(instruction, Tell):
                self.tell([*instruction.inits, *instruction.sums])
            elif isinstance(instruction, Send):
                self.sent.append(instruction)
                if instruction.task in self.runners:
                    arrived = Arrived(instruction.task, instruction.sender, instruction.message)
                    self.carry(self.core.handle(arrived, self.now))
            elif isinstance(instruction, Credit) and instruction.sender >= 0:
                taken = Taken(instruction.target, instruction.sender, instruction.items)
                self.carry(self.core.handle(taken, self.now))

    def verdict(self, root: Root) -> Verdict | None:
        """The verdict on a root; None while it is open."""
        found = [verdict for verdict in self.verdicts if verdict.root == root]
        assert len(found) <= 1, "one verdict for each root"
        return found[0] if found else None
