"""What the tests share: a small Ray, the real files, and the rule about skipped tests."""

import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

FORBID_SKIPS = "SURVEY_FORBID_SKIPS"
"""Environment: when set, a skipped test is a failed one, so that nothing is left out unseen."""

# A shared machine is slow at times: no test is about how long it takes.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("patient")
if os.environ.get(FORBID_SKIPS):
    # Where a run decides whether a change is taken, it must not hang on the draw of a property test.
    hypothesis.settings.load_profile("repeatable")

# Some tests are about interruptions, which a shell has ignored by what it starts in the background.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

EXPECTED_SKIPS = ("no GPU", "no Chromium")
"""Reasons that begin like this stay skips even then."""


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A small Ray of this process, with an imaginary GPU; workers find the tests' own modules."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=8,
        num_gpus=1,
        object_store_memory=200 << 20,
        include_dashboard=False,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium; what a test waits for may take a minute, on a slow machine."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"], timeout=300_000)
        yield started
        started.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real TESS, Kepler and K2 files (SURVEY_TEST_DATA, else ../shared/data)."""
    folder = Path(os.environ.get("SURVEY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "archive").is_dir():
        pytest.skip(f"no real light curves in {folder}: set SURVEY_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def archive(real_data: Path) -> Path:
    """The real files under the archive's own keys: a mirror."""
    return real_data / "archive"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long test may wait longer, too, before it counts as one that hangs."""
    for item in items:
        if item.get_closest_marker("verify") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


def _forbidden(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why a skipped test must not be, or None where it may."""
    if not (report.skipped and os.environ.get(FORBID_SKIPS)) or hasattr(report, "wasxfail"):
        return None
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    return None if reason.startswith(EXPECTED_SKIPS) else f"{FORBID_SKIPS} is set, and this was skipped: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if why := _forbidden(report):
        report.outcome, report.longrepr = "failed", why
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if why := _forbidden(report):
        report.outcome, report.longrepr = "failed", why
    return report
