"""Real programs in a temporary folder end with their owner, and so does the folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import ProcessError, ProcessFolder, free_port, wait_until
from support.processes.folder import remove_litter

TESTS = Path(__file__).parents[1]
LONG = ["sleep", "600"]


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody waited for (state Z) has too."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_a_program_runs_in_the_folder_and_its_output_is_kept() -> None:
    with ProcessFolder.create("test") as folder:
        folder.start("shell", ["sh", "-c", "pwd; echo oops >&2; exit 3"])

        assert folder.wait("shell") == 3
        assert folder.log_tail("shell") == f"{folder.path}\noops"


def test_a_program_sees_only_the_environment_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "somebody")
    with ProcessFolder.create("test") as folder:
        folder.start("default", ["sh", "-c", 'echo "${AWS_PROFILE:-unset}"'])
        folder.start("own", ["sh", "-c", 'echo "$COLOUR"'], env={"COLOUR": "red"})
        folder.wait("default")
        folder.wait("own")

        assert (folder.log_tail("default"), folder.log_tail("own")) == ("unset", "red")


def test_stop_asks_and_kill_does_not() -> None:
    stubborn = ["sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"]
    with ProcessFolder.create("test") as folder:
        folder.start("stopped", stubborn)
        folder.start("killed", stubborn)
        wait_until(
            lambda: folder.log_tail("stopped") and folder.log_tail("killed"), what="both traps to be set"
        )

        assert folder.stop("stopped") == 7
        folder.kill("killed")
        assert folder.exit_code("killed") == -signal.SIGKILL


def test_a_name_can_be_started_again_once_its_process_has_ended() -> None:
    with ProcessFolder.create("test") as folder:
        first = folder.start("sleep", LONG)
        with pytest.raises(ProcessError, match=f"'sleep' already runs as process {first}"):
            folder.start("sleep", LONG)

        folder.kill("sleep")
        folder.start("sleep", LONG)

        assert folder.pid("sleep") != first
        assert folder.exit_code("sleep") is None


def test_refusals_say_what_was_found() -> None:
    with ProcessFolder.create("test") as folder:
        with pytest.raises(ProcessError, match="No such file or directory: 'no-such-program'"):
            folder.start("missing", ["no-such-program"])
        with pytest.raises(ProcessError, match=r"no process named 'other' was started; there are \[\]"):
            folder.stop("other")
        folder.start("true", ["true"])
        folder.wait("true")
        with pytest.raises(ProcessError, match="'true' has already ended with exit code 0"):
            folder.kill("true")


def test_descendants_end_too() -> None:
    with ProcessFolder.create("test") as folder:
        folder.start("parent", ["sh", "-c", "sleep 600 & echo $!; wait"])
        child = int(wait_until(lambda: folder.log_tail("parent"), what="the child's id"))

    wait_until(lambda: gone(child), what="the child to end")


def test_everything_ends_with_another_process_if_that_is_the_owner() -> None:
    with subprocess.Popen(LONG) as owner:
        folder = ProcessFolder.create("test", owner=owner.pid)
        pid = folder.start("sleep", LONG)
        owner.kill()

    wait_until(lambda: gone(pid), what="the process to end")
    wait_until(lambda: not folder.path.exists(), what="the folder to go")


def test_everything_ends_even_while_a_fork_of_the_owner_lives_on() -> None:
    program = """
import os, time
from support.processes import ProcessFolder

folder = ProcessFolder.create("test")
pid = folder.start("sleep", ["sleep", "600"])
if fork := os.fork():
    print(pid, fork, flush=True)
time.sleep(600)
"""
    owner = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        pid, fork = map(int, owner.stdout.readline().split())
        owner.kill()
        wait_until(lambda: gone(pid), what="the process to end")
        assert not gone(fork)
        os.kill(fork, signal.SIGKILL)


def test_the_length_of_the_folders_path_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))

    with ProcessFolder.create("test") as folder:
        folder.start("true", ["true"])
        assert folder.wait("true") == 0


def test_litter_of_a_lost_run_is_removed_and_living_folders_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long_ago = time.time() - 3600
    lost, living = ProcessFolder.create("test"), ProcessFolder.create("test")
    pid = lost.start("sleep", LONG)
    supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: gone(supervisor), what="the supervisor to end")
    os.utime(living.path, (long_ago, long_ago))

    remove_litter()
    assert lost.path.exists()  # it may be about to be locked
    os.utime(lost.path, (long_ago, long_ago))
    remove_litter()

    assert not lost.path.exists()
    assert living.path.exists()
    living.close()


def test_a_lost_supervisor_is_reported_not_waited_for() -> None:
    folder = ProcessFolder.create("test")
    folder.close()

    with pytest.raises(ProcessError, match="has ended, and with it all its processes"):
        folder.start("sleep", LONG)


def test_a_free_port_is_one_that_nobody_listens_on() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
        server.listen()


def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(TimeoutError, match=r"waited 0.01 s for rain, in vain"):
        wait_until(lambda: None, what="rain", seconds=0.01)
