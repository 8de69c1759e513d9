"""Real programs for tests, which leave nothing behind however the test run ends.

    with ProcessFolder.create("s3") as folder:
        folder.start("server", ["versitygw", ...])
        folder.kill("server")

A `ProcessFolder` is a temporary folder and the processes that work in it. Both go when it is closed,
and also when the process that owns it is killed with SIGKILL.
"""

from support.processes.folder import ProcessError, ProcessFolder
from support.processes.ports import addresses_of_this_machine, free_port, is_free
from support.processes.waiting import wait_until

__all__ = ["ProcessError", "ProcessFolder", "addresses_of_this_machine", "free_port", "is_free", "wait_until"]
