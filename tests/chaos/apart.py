"""Work in processes of their own, which start in milliseconds: they are forked from one that has imported everything
and never started a thread."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "tests.chaos.apart", "tests.chaos.sessions"])


def start_apart(work: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    return process


def run_apart(work: Callable[..., None], *arguments: Any) -> int:
    """The exit status of a process that did this."""
    process = start_apart(work, *arguments)
    process.join()
    assert process.exitcode is not None
    return process.exitcode
