"""Jobs that outlast their requests, those that are lost, and the detectors that are trained."""

import asyncio
import time

import pyarrow as pa
import pytest

from serve import desk as desks
from serve.cases import JSON, Answer
from serve.desk import Desk
from serve.refusals import Refusal
from serve.settings import Settings
from serve.training import Trained
from survey.errors import UsageError
from survey.schema import pack, unpack

DONE = Answer(200, JSON, b'{"a":1}', "ok")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def make_desk(tmp_path, train=desks.train_here, clock=time.monotonic, **settings):
    return Desk(Settings(laptop=True, detectors=tmp_path / "detectors", **settings), train, clock)


def test_a_job_says_where_it_is_and_keeps_its_answer(tmp_path, clock):
    async def work():
        desk = make_desk(tmp_path, clock=clock)
        job = await desk.open("score")
        await desk.note(job, "search")
        clock.now += 5
        running = await desk.look(job)
        assert (running.kind, running.state, running.stage, running.seconds) == ("score", "running", "search", 5.0)
        await desk.close(job, DONE, None)
        clock.now += 50
        done = await desk.look(job)
        assert (done.state, done.seconds, done.answer, done.error) == ("done", 5.0, DONE, None)
        clock.now += desks.KEPT_S
        assert await desk.look(job) is None

    asyncio.run(work())


def test_a_job_that_nobody_hears_of_was_lost_with_its_process(tmp_path, clock):
    async def work():
        desk = make_desk(tmp_path, clock=clock)
        silent, lively = await desk.open("score"), await desk.open("score")
        for _ in range(4):
            clock.now += desks.SILENT_S * 0.7
            await desk.note(lively, "search")
        lost = await desk.look(silent)
        assert lost.state == "failed"
        assert "ask again" in lost.error
        assert (await desk.look(lively)).state == "running"
        await desk.close(silent, DONE, None)
        assert (await desk.look(silent)).state == "done", "it was only slow"

    asyncio.run(work())


def test_no_more_jobs_than_the_settings_say(tmp_path):
    async def work():
        desk = make_desk(tmp_path, jobs=2)
        first, _ = await desk.open("score"), await desk.open("score")
        with pytest.raises(Refusal) as refused:
            await desk.open("score")
        assert refused.value.word == "busy"
        assert refused.value.after
        await desk.close(first, None, "it failed")
        assert await desk.open("score") != first

    asyncio.run(work())


def test_answers_are_kept_up_to_a_size_and_the_oldest_go_first(tmp_path, clock):
    async def work():
        desk = make_desk(tmp_path, clock=clock)
        jobs = []
        for _ in range(5):
            jobs.append(await desk.open("score"))
            await desk.close(jobs[-1], Answer(200, JSON, bytes(desks.KEPT_BYTES // 3), "ok"), None)
            clock.now += 1
        kept = [job for job in jobs if await desk.look(job)]
        assert kept == jobs[2:]

    asyncio.run(work())


def test_what_is_no_job_is_none(tmp_path):
    async def work():
        desk = make_desk(tmp_path)
        await desk.note("job-0", "search")
        await desk.close("job-0", DONE, None)
        assert await desk.look("job-0") is None

    asyncio.run(work())


# Detectors


async def finish(desk, job):
    while (found := await desk.look(job)).state == "running":
        await asyncio.sleep(0.01)
    return found


def model_files(name):
    return {"model.json": f'{{"name": "{name}"}}'.encode(), "weights": b"\0\1"}


async def train_quickly(settings, name, simulated, lights, overrides):
    if simulated == 1:
        raise UsageError("too little light")
    if simulated == 2:
        raise RuntimeError("in /secret/place")
    if simulated == 3:
        await asyncio.sleep(60)
    return Trained({"simulated": simulated}, model_files(name))


@pytest.fixture
def plain_words(monkeypatch):
    monkeypatch.setattr(desks.answers, "describe_model", lambda folder: {"name": folder.name})


def test_a_trained_detector_is_kept_whole_and_found_by_its_name(tmp_path, plain_words):
    async def work():
        desk = make_desk(tmp_path, train_quickly)
        done = await finish(desk, await desk.train(9, [], ()))
        assert done.state == "done"
        (known,) = await desk.detectors()
        name = known["name"]
        assert name.encode() in done.answer.body
        assert await desk.detector(name) == model_files(name)
        again = make_desk(tmp_path, train_quickly)
        assert await again.detector(name) == model_files(name), "another desk over the same folder"
        (tmp_path / "detectors" / ".detector-00000000").mkdir()
        (tmp_path / "detectors" / "other").mkdir()
        assert await again.detectors() == [known]

    asyncio.run(work())


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../detectors", "detector-0", "detector-ABCDEF01", "detector-00000000/..", "/etc", "other"]
)
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    desk = make_desk(tmp_path)
    (tmp_path / "detectors" / "other").mkdir()
    assert asyncio.run(desk.detector(name)) is None


def test_a_training_that_fails_says_why_and_one_of_ours_only_that_it_did(tmp_path, caplog, plain_words):
    async def work():
        desk = make_desk(tmp_path, train_quickly)
        assert (await finish(desk, await desk.train(1, [], ()))).error == "too little light"
        failed = await finish(desk, await desk.train(2, [], ()))
        assert "secret" not in failed.error
        assert await desk.detectors() == []

    asyncio.run(work())
    assert "/secret/place" in caplog.text


def test_a_training_has_an_end_and_few_go_on_at_once(tmp_path):
    async def work():
        desk = make_desk(tmp_path, train_quickly, job_s=0.05)
        assert "not done after 0.05 s" in (await finish(desk, await desk.train(3, [], ()))).error
        slow = make_desk(tmp_path, train_quickly)
        jobs = [await slow.train(3, [], ()) for _ in range(desks.TRAININGS)]
        with pytest.raises(Refusal, match="training") as refused:
            await slow.train(3, [], ())
        assert refused.value.word == "busy"
        await asyncio.sleep(0.01)
        assert (await slow.look(jobs[0])).stage == "train"
        assert await slow.open("score"), "stars are examined all the same"

    asyncio.run(work())


def test_the_oldest_detectors_make_room(tmp_path, monkeypatch, plain_words):
    monkeypatch.setattr(desks, "DETECTORS", 3)

    async def work():
        desk = make_desk(tmp_path, train_quickly)
        made = []
        for _ in range(5):
            await finish(desk, await desk.train(9, [], ()))
            made.append((await desk.detectors())[0]["name"])
        assert [one["name"] for one in await desk.detectors()] == made[:1:-1]
        assert len(list((tmp_path / "detectors").iterdir())) == 3

    asyncio.run(work())


def test_a_table_goes_through_bytes_unchanged():
    table = pa.table({"flux": pa.array([[1.5, None], []], pa.list_(pa.float32())), "n": [1, 2]})
    assert unpack(pack(table)).equals(table)
