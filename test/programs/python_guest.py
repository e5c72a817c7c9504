"""Runs one module of CPython's tests, and tells before each test that it begins and after it how it went.

Arguments: the module, seconds a test may take, tests to leave out.
"""
import faulthandler
import os
import sys
import unittest

module, limit, done = sys.argv[1], int(sys.argv[2]), set(sys.argv[3:])
# Out of the way of tests that count on low numbers, and not for their children.
report = os.dup2(1, 200, inheritable=False)
os.dup2(2, 1)

from test import support  # noqa: E402  (its import may print)

support.use_resources = []


def tell(kind, test, why=""):
    """One line: what happened, to which test, why."""
    os.write(report, f"{kind} {test.id()} {' '.join(str(why).split())[-200:]}\n".encode())


class Result(unittest.TestResult):
    """Tells the first outcome of each test. Of a test's sub-tests only failures count."""
    said = False

    def startTest(self, test):
        super().startTest(test)
        faulthandler.dump_traceback_later(limit, exit=True)
        tell("begin", test)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        self.said = False

    def say(self, kind, test, why=""):
        # What fails without having begun is the set-up of a class or module.
        begun = isinstance(test, unittest.TestCase)
        if not (begun and self.said):
            tell(kind, test, why)
        self.said = begun

    def addSuccess(self, test):
        self.say("ok", test)

    def addError(self, test, err):
        self.say("FAIL", test, repr(err[1]))

    def addFailure(self, test, err):
        self.say("FAIL", test, repr(err[1]))

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.say("FAIL", test, repr(err[1]))

    def addSkip(self, test, reason):
        self.say("skip", test, reason)

    def addExpectedFailure(self, test, err):
        self.say("ok", test)

    def addUnexpectedSuccess(self, test):
        self.say("ok", test)


def without(suite):
    """The suite without the tests that have run."""
    def kept(test):
        return isinstance(test, unittest.TestSuite) or test.id() not in done
    return unittest.TestSuite(without(t) if isinstance(t, unittest.TestSuite) else t for t in suite if kept(t))


without(unittest.TestLoader().loadTestsFromName("test." + module)).run(Result())
os.write(report, b"end\n")
# Without what the module may still have running.
os._exit(0)
