"""The JAX engine and the fused kernel of the GPU benchmark against the NumPy reference."""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import gpu
from survey.signals.search import jax_engine, reference
from tests.signals.search.lanes import make_lanes

TOLERANCE = 5e-5
"""float32 sums of a few thousand bins, in units of the noise."""

BOXES = {
    "unit": ((1,), (1,)),
    "narrow": ((1, 2, 3), (1, 1, 1)),
    "two levels": ((3, 4, 5, 6, 8), (1, 1, 1, 2, 2)),
    "three levels": ((2, 4, 5, 6, 8, 12), (1, 1, 1, 2, 2, 4)),
}


def make_segment(rows: int, first: int, n_periods: int, boxes: str, drift_step: int, missing: int) -> gpu.Segment:
    last = first + n_periods
    return gpu.Segment(0.01, max(rows * first - missing, last + 1), rows, first, last, drift_step, *BOXES[boxes])


segments = st.builds(
    make_segment,
    rows=st.sampled_from([2, 4, 6, 12, 16, 48, 128]),
    first=st.integers(20, 60),
    n_periods=st.integers(1, 3),
    boxes=st.sampled_from(list(BOXES)),
    drift_step=st.integers(1, 3),
    missing=st.integers(-30, 40),
)


@settings(deadline=None, max_examples=12)
@given(segment=segments, seed=st.integers(0, 2**32 - 1), lanes=st.sampled_from([1, 3]))
def test_engine_agrees_with_the_reference(segment: gpu.Segment, seed: int, lanes: int) -> None:
    columns = make_lanes(segment, lanes, seed)
    np.testing.assert_allclose(
        jax_engine.search_segment(*columns, segment), reference.search_segment(*columns, segment), atol=TOLERANCE
    )


def test_engine_searches_any_number_of_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    """More stars than one call takes, and a last call that is not full."""
    monkeypatch.setitem(jax_engine.LANES, "cpu", (4, 4, 2**20))
    segment = make_segment(16, 21, 2, "two levels", 2, 30)
    columns = make_lanes(segment, 11, seed=5)
    found = jax_engine.search_segment(*columns, segment)
    np.testing.assert_allclose(found, reference.search_segment(*columns, segment), atol=TOLERANCE)


@pytest.mark.parametrize("rows", [2, 4, 8, 16, 64, 4096, 6, 12, 24, 48, 768, 3072])
@pytest.mark.parametrize("most", [8, 24])
def test_passes_join_all_rows(rows: int, most: int) -> None:
    passes = jax_engine.radices(rows, most)
    assert np.prod(passes) == rows
    assert all(radix <= most for radix in passes)
    assert all(radix % 3 for radix in passes[1:]), "three rows are folded first"


@pytest.mark.parametrize("rows", [2, 6, 16, 48])
def test_passes_move_rows_as_the_reference_does(rows: int) -> None:
    """A row with a single 1 ends at minus its move, whatever the passes."""
    period = 50
    for number in range(rows):
        single = np.zeros((rows, period, 1), np.float32)
        single[number, 0] = 1
        folded = reference.fold_rows(single)[..., 0]
        moved = [gpu.row_move(number, drift, rows) % period for drift in range(rows)]
        assert np.array_equal((-folded.argmax(axis=1)) % period, moved)
        assert np.array_equal(jax_engine.moves(np.arange(rows), rows, rows)[1][number] % period, moved)


@pytest.mark.parametrize("lanes", [2, 7])
def test_a_star_gives_the_same_bits_in_any_full_batch(lanes: int) -> None:
    segment = make_segment(24, 30, 2, "two levels", 2, 0)
    columns = make_lanes(segment, lanes, seed=9)
    together = jax_engine.search_segment(*columns, segment)
    backwards = jax_engine.search_segment(*(rows[::-1] for rows in columns), segment)
    assert np.array_equal(together, backwards[:, ::-1])
    alone = jax_engine.search_segment(*(rows[:1] for rows in columns), segment)
    assert np.array_equal(together[:, :1], alone)


def test_the_engine_has_the_constants_of_the_reference() -> None:
    assert jax_engine.COVERAGE == reference.COVERAGE


@pytest.mark.parametrize(
    "segment",
    [
        make_segment(4, 40, 3, "two levels", 2, 5),
        make_segment(6, 40, 2, "two levels", 2, 5),
        make_segment(8, 33, 2, "narrow", 1, 0),
        make_segment(12, 25, 3, "three levels", 2, 20),
        make_segment(48, 21, 2, "two levels", 2, 30),
        make_segment(64, 20, 2, "unit", 3, -30),
    ],
    ids=lambda segment: f"{segment.rows}-rows",
)
def test_fused_kernel_agrees_with_the_reference(segment: gpu.Segment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted: the same kernel without a GPU. Little memory, so that a segment takes several chunks of periods."""
    monkeypatch.setattr(gpu, "PASS_BYTES", 2**17)
    columns = make_lanes(segment, 5, seed=segment.rows)
    found = gpu.fetch(gpu.start_fused_search(*columns, segment, block=4, interpret=True), 5)
    np.testing.assert_allclose(found, reference.search_segment(*columns, segment), atol=TOLERANCE)


@pytest.mark.parametrize("rows", [4, 48])
def test_fused_kernel_lowers_for_an_nvidia_gpu(rows: int) -> None:
    """Triton takes every operation of the kernel; whether it compiles to something fast, a GPU has to say."""
    segment = make_segment(rows, 40, 2, "two levels", 2, 5)
    shapes = [
        jax.ShapeDtypeStruct((gpu.BLOCK, size), jnp.float32)
        for size in (segment.n_bins, segment.n_bins, len(segment.widths))
    ]
    traced = gpu._fused_search.trace(*shapes, segment, gpu.BLOCK, False)
    lowered = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert "triton" in lowered


@pytest.mark.parametrize("rows", [6, 16])
def test_the_benchmark_checks_against_the_right_numbers(rows: int) -> None:
    segment = make_segment(rows, 33, 3, "two levels", 2, 7)
    columns = make_lanes(segment, 2, seed=rows)
    periods = range(segment.first, segment.last)
    np.testing.assert_allclose(
        gpu.brute_force(*columns, segment, periods), reference.search_segment(*columns, segment), atol=TOLERANCE
    )


def test_the_benchmark_notices_a_wrong_kernel() -> None:
    segment = make_segment(4, 33, 2, "two levels", 2, 7)
    columns = make_lanes(segment, 2, seed=1)

    def wrong(*arguments: np.ndarray) -> list[jax.Array]:
        [found] = jax_engine.start_search(*arguments)
        return [found.at[2, 0, 0].add(0.01)]

    assert gpu.measure(jax_engine.start_search, [columns], [segment], 1)["agrees"]
    assert not gpu.measure(wrong, [columns], [segment], 1)["agrees"]


def test_the_benchmark_has_the_plans_of_the_package() -> None:
    """If this fails the plans have changed: `python -m benchmarks.gpu --write-plans`."""
    assert json.loads(gpu.PLANS.read_text()) == gpu.make_plans()


def test_simulated_lanes_are_what_an_engine_expects() -> None:
    segment = gpu.read_plans()["tess"][-1]
    [(signal, weight, inverse_beta)] = gpu.simulate(gpu.MISSIONS["tess"], [segment], 3, seed=2)
    assert signal.shape == weight.shape == (3, segment.n_bins)
    assert inverse_beta.shape == (3, len(segment.widths))
    np.testing.assert_allclose(weight.sum(axis=1), 1, rtol=1e-4)
    assert (weight == 0).any(), "gaps"
    used = weight > 0
    assert np.std(signal[used] / np.sqrt(weight[used])) == pytest.approx(1, rel=0.1)


def test_without_a_gpu_the_benchmark_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "gpu.json"
    assert gpu.main(["--quick", "--plan", "tess", "--stars", "2", "--json", str(report)]) == 0
    printed = capsys.readouterr().out
    assert "no GPU figures" in printed
    figures = json.loads(report.read_text())
    assert not figures["gpu"]
    assert [row["kernel"] for row in figures["figures"]] == ["xla", "pallas"]
    assert all(row["agrees"] for row in figures["figures"])


def test_a_kernel_that_fails_is_a_line_of_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure_apart = gpu.measure_apart
    refused = [sys.executable, "-c", "raise NotImplementedError('no such instruction')"]
    monkeypatch.setattr(gpu, "measure_apart", lambda command: measure_apart(refused))
    assert gpu.main(["--plan", "tess"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("exit status 1: NotImplementedError: no such instruction") == 2


def test_segments_of_the_benchmark_are_those_of_the_package() -> None:
    """The engine asks for nothing that the benchmark's own segments lack."""
    names = {field.name for field in dataclasses.fields(gpu.Segment)}
    assert all(names <= row.keys() for plan in gpu.make_plans().values() for row in plan)
