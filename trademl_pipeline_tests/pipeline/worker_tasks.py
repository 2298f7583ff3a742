"""Tasks for workers, and a command that loops over them: `python -m ... <folder> <count> <kind of task>`."""

import os
import signal
import sys
import time
from pathlib import Path

from trademl_pipeline.pipeline.workers import Hooks, Outcome, Stopped, Task, Workers, emit

begun: list[str] = []


class OwnError(Exception):
    """An error that says of itself how it is to be carried."""


class TwoPartError(Exception):
    """An error that pickle cannot make again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def begin(folder: str) -> None:
    begun.append("begun")
    with (Path(folder) / "begun").open("a") as file:
        file.write(f"{os.getpid()}\n")


def double(value: int) -> int:
    return 2 * value


def who() -> tuple[int, int]:
    return os.getpid(), len(begun)


def fail(message: str) -> None:
    raise OwnError(message)


def fail_in_two_parts() -> None:
    raise TwoPartError("one", "two")


def unsendable() -> object:
    return lambda: None


def tell(*messages: str) -> str:
    for message in messages:
        emit(message)
    return "told"


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def publish_on(folder: str, name: str) -> None:
    """Write on and on, and clean up when interrupted."""
    mine = Path(folder) / name
    (Path(folder) / f"{name}.pid").write_text(str(os.getpid()))
    try:
        while True:
            mine.write_text(str(time.time()))
            emit(name)
            time.sleep(0.02)
    finally:
        (Path(folder) / f"{name}.cleaned").touch()


def convert(folder: str, name: str) -> None:
    """Turn what a signal raises into an error of its own, as libraries do, and tell of it."""
    mine = Path(folder) / name
    (Path(folder) / f"{name}.pid").write_text(str(os.getpid()))
    try:
        mine.touch()
        while True:
            time.sleep(0.02)
    except BaseException:
        emit(f"refused {name}")
        raise OwnError("the library was interrupted") from None


def deaf(folder: str, name: str) -> None:
    """Heed nothing, as compiled code does."""
    (Path(folder) / f"{name}.pid").write_text(str(os.getpid()))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    (Path(folder) / name).touch()
    while True:
        time.sleep(60)


def main(folder: str, count: str, kind: str) -> int:
    work = {"publish": publish_on, "convert": convert, "deaf": deaf}[kind]
    groups = [[Task(f"task {n}", work, (folder, f"t{n}"))] for n in range(int(count))]
    heard = set()

    def on_message(task: Task, message: str) -> None:
        heard.add(message)
        (Path(folder) / "heard").write_text(" ".join(sorted(heard)))

    def on_outcome(outcome: Outcome) -> None:
        (Path(folder) / "ended").write_text(str(outcome))

    try:
        with Workers(int(count), grace=3.0) as workers:
            workers.run(groups, Hooks(on_message=on_message, on_outcome=on_outcome))
    except Stopped as stopped:
        print(stopped)
        return stopped.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
