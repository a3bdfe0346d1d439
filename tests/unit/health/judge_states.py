# SPDX-License-Identifier: Apache-2.0
"""The state machine (the program given as argument) against a model that was written from the
specification, sections 2.2, 2.3, 2.6, 2.8 and 3, and keeps whole histories instead of counters:
random results, pauses, reloads of rules and of checks, maintenance (Debian package
python3-hypothesis)."""
import subprocess
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MACHINES = [0, 0, 1]
GRAVITY = ["healthy", "unknown", "degraded", "unhealthy"]


class Service:
    def __init__(self, now):
        self.rules = (10000, 3, 1, 0, 0)
        self.maintenance = False
        self.check(now)

    def check(self, now):
        self.begun = now
        self.results = []  # (time, passed, milliseconds), those that count
        self.shaken = False  # has been unhealthy, and has not passed S times since
        self.status, self.pending = "unknown", True

    def trailing(self, passed):
        count = 0
        for _, ok, _ in reversed(self.results):
            if ok != passed:
                break
            count += 1
        return count

    def result(self, now, passed, ms):
        interval, threshold, success, start, slow = self.rules
        ever = any(ok for _, ok, _ in self.results)
        if not passed and not ever and now - self.begun < start:
            return
        self.results.append((now, passed, ms))
        if self.trailing(False) >= threshold:
            self.shaken = True
        if self.trailing(True) >= success:
            self.shaken = False
        # Which pass was slow is said when it comes.
        self.slow = passed and slow > 0 and ms > slow

    def table(self, now):
        """Spec section 2.3, line by line."""
        interval, threshold, success, _, _ = self.rules
        failures = self.trailing(False)
        if not self.results:
            return "unknown", "pending"
        if failures >= threshold:
            return "unhealthy", "failed"
        if failures > 0:
            return "degraded", "failing"
        if self.shaken and self.trailing(True) < success:
            return "degraded", "recovering"
        if now - self.results[-1][0] > 2 * interval:
            return "unknown", "stale"
        if self.slow:
            return "degraded", "slow"
        return "healthy", "passing"

    def judge(self, now):
        """The change this moment brings, or nothing."""
        if self.results and self.trailing(False) >= self.rules[1]:
            self.shaken = True
        status, reason = self.table(now)
        before, was_pending = self.status, self.pending
        self.status, self.pending = status, reason == "pending"
        if was_pending and not self.pending:
            return [("none", status)]
        return [(before, status)] if before != status else []


def worst(statuses):
    return max(statuses, key=GRAVITY.index, default="unknown")


class Model:
    def __init__(self):
        self.now = 0
        self.services = [Service(0) for _ in MACHINES]

    def obey(self, command):
        """The changes, as (service, from, to), in no order."""
        verb, *args = command
        changes = []
        if verb == "wait":
            end = self.now + args[0]
            # Time alone makes nothing but stale; the moment does not matter to what is told.
            self.now = end
            for index, service in enumerate(self.services):
                changes += [(index, *change) for change in service.judge(end)]
            return changes
        service = self.services[args[0]]
        if verb == "rules":
            service.rules = tuple(args[1:])
        elif verb == "check":
            service.check(self.now)
            return []
        elif verb == "maintain":
            service.maintenance = bool(args[1])
            return []
        else:
            service.result(self.now, verb == "pass", args[1] if verb == "pass" else 0)
        return [(args[0], *change) for change in service.judge(self.now)]

    def rollup(self):
        machines = []
        for machine in range(2):
            counted = [s.status for s, m in zip(self.services, MACHINES)
                       if m == machine and not s.maintenance]
            machines.append((worst(counted), len(counted)))
        cluster = worst([status for status, count in machines if count > 0])
        return [status for status, _ in machines] + [cluster]


SERVICE = st.integers(0, 2)
COMMANDS = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0, 1, 500, 999, 1000, 1001, 9999, 10000, 19999,
                                                20000, 20001, 60000])),
    st.tuples(st.just("pass"), SERVICE, st.sampled_from([1, 99, 100, 101, 5000])),
    st.tuples(st.just("fail"), SERVICE),
    st.tuples(st.just("fail"), SERVICE),
    st.tuples(st.just("rules"), SERVICE, st.sampled_from([500, 1000, 10000]), st.integers(1, 4),
              st.integers(1, 3), st.sampled_from([0, 1000, 15000]), st.sampled_from([0, 100])),
    st.tuples(st.just("check"), SERVICE),
    st.tuples(st.just("maintain"), SERVICE, st.integers(0, 1)),
)


class Program:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, command):
        self.process.stdin.write(" ".join(str(word) for word in command) + "\n")
        self.process.stdin.flush()
        changes, services, rollup = self.process.stdout.readline().rstrip("\n").split(";")
        told = []
        for change in changes.split():
            index, _, states = change.partition(":")
            told.append((int(index), *states.split(">")))
        return told, [row.split(" ") for row in services.split(",")], rollup.split()


def score_fits(status, score, results):
    """Spec section 2.6."""
    failures = sum(not ok for _, ok, _ in results[-20:])
    if status == "healthy":
        return 90 <= score <= 100 and (score == 100) == (failures * 10 // 20 == 0)
    return {"degraded": 70 <= score <= 79, "unhealthy": 1 <= score <= 59,
            "unknown": score == 0}[status]


def main():
    program = Program(sys.argv[1])

    @settings(max_examples=400, deadline=None, derandomize=True,
              suppress_health_check=list(HealthCheck))
    @given(st.lists(COMMANDS, max_size=60))
    def compare(commands):
        model = Model()
        program.ask(("reset",))
        for command in commands:
            expected = model.obey(command)
            told, rows, rollup = program.ask(command)
            assert sorted(told) == sorted(expected), (command, told, expected)
            for row, service in zip(rows, model.services):
                status, reason, failures, score = row
                assert (status, reason) == service.table(model.now), (command, row)
                assert int(failures) == service.trailing(False), (command, row)
                assert score_fits(status, int(score), service.results), (command, row)
            assert rollup == model.rollup(), (command, rollup, model.rollup())

    compare()
    program.process.stdin.close()
    assert program.process.wait(10) == 0
    print("400 histories agree")


main()
