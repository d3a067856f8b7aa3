"""Runs on machines with wrong clocks that start, sleep, wake and end in any order."""

import itertools
from dataclasses import dataclass

import hypothesis.strategies as st
from clocks import Time
from examples import examples
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from filtering.core.errors import InputError, RunError
from filtering.storage.lease import HEARTBEAT_SECONDS, STALE_SECONDS, WATCHED, Lease
from filtering.storage.store import Store

MACHINES = st.integers(0, 2)
AHEAD = st.sampled_from([0, 5, -5, 50, -50, 4000, -4000])
outputs = itertools.count()


@dataclass
class Machine:
    ahead: int
    lease: Lease | None = None
    awake: bool = True
    heard: float = 0.0
    punctual: bool = True


class Protocol(RuleBasedStateMachine):
    @initialize(ahead=st.tuples(AHEAD, AHEAD, AHEAD))
    def begin(self, ahead):
        self.time = Time()
        self.time.while_sleeping = self.live
        self.store = Store(f"memory://lease-{next(outputs)}")
        self.machines = [Machine(value) for value in ahead]
        self.token = 0
        # The machine that wrote the newest lease, unless it was released.
        self.holder = None
        self.rival = None

    def live(self):
        rival, self.rival = self.rival, None
        if rival is not None:
            self.attempt(rival)
        for machine in self.machines:
            if machine.lease is not None:
                machine.punctual &= self.silence(machine) < WATCHED * HEARTBEAT_SECONDS
                if machine.awake and self.silence(machine) >= HEARTBEAT_SECONDS:
                    self.beat(machine)

    def silence(self, machine):
        return self.time.now - machine.heard

    def beat(self, machine):
        try:
            machine.lease.beat()
            machine.heard = self.time.now
        except RunError:
            assert machine.lease.fence().token < self.token
            machine.lease = None

    def attempt(self, machine):
        lease = Lease(self.store, clock=self.time.clock(machine.ahead))
        try:
            lease.acquire()
        except InputError:
            return False
        assert lease.fence().token > self.token
        self.token, self.holder = lease.fence().token, machine
        machine.lease, machine.awake, machine.heard, machine.punctual = lease, True, self.time.now, True
        return True

    @rule(seconds=st.integers(1, 90))
    def pass_time(self, seconds):
        for _ in range(seconds):
            self.time.sleep(1)

    @rule(at=MACHINES)
    def start(self, at):
        machine, holder = self.machines[at], self.holder
        if machine.lease is not None:
            return
        if holder is None or holder.lease is None:
            free = True
        else:
            age = self.silence(holder) + machine.ahead - holder.ahead
            free = not holder.awake and abs(age) > STALE_SECONDS
        assert self.attempt(machine) == free

    @rule(at=MACHINES, rival=MACHINES)
    def start_while_a_rival_does(self, at, rival):
        if at != rival and self.machines[at].lease is None and self.machines[rival].lease is None:
            self.rival = self.machines[rival]
            self.attempt(self.machines[at])
            self.rival = None

    @rule(at=MACHINES)
    def fall_asleep(self, at):
        self.machines[at].awake = False

    @rule(at=MACHINES)
    def wake_up(self, at):
        self.machines[at].awake = True

    @rule(at=MACHINES)
    def end(self, at):
        machine = self.machines[at]
        if machine.lease is not None and machine.awake:
            machine.lease.release()
            machine.lease = None
            self.holder = None if self.holder is machine else self.holder

    def may_write(self, machine):
        try:
            machine.lease.fence().check()
        except RunError:
            return False
        return True

    @precondition(lambda self: self.token)
    @invariant()
    def at_most_one_may_write_and_a_punctual_one_always_may(self):
        holding = [machine for machine in self.machines if machine.lease is not None]
        writers = [machine for machine in holding if self.may_write(machine)]
        assert len(writers) <= 1
        assert all(machine in writers for machine in holding if machine.punctual)
        assert len(self.store.child("lease").names()) <= 3


TestProtocol = Protocol.TestCase
TestProtocol.settings = examples(0.4, stateful_step_count=30, derandomize=True)
