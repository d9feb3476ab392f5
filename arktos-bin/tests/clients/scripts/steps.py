"""What the scripts in Python share: steps that are counted, and the words in which they speak with the test that runs them."""

import os
import time
import traceback

PATIENCE = 60
STEPS = []


def step(function):
    """Marks a function as one step of the script."""
    STEPS.append(function)
    return function


def run():
    """Runs every step in the order they are written; says which passed."""
    for function in STEPS:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            print("FAILED", function.__name__, flush=True)
            os._exit(1)  # threads of the client's that still run are not waited for
        print("PASSED", function.__name__, flush=True)
    os._exit(0)


def restart_server():
    """Has the server killed and started again in the same place."""
    print("RESTART", flush=True)
    assert input() == "restarted"


def until(condition, what="what was waited for"):
    """Waits until a condition holds, and gives back what it gave."""
    end = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.05)
