"""`feature` against loopback servers that score given texts: equal records, kills, damage, mistakes.

The server's own ledger says what was scored; the toy model is tests/scoring_server.py.
"""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_data.data.arrays import topk_of
from distill_data.data.features import open_features
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.teachers import read_answer
from tests.scoring_server import Server, distribution, encode, serve
from tests.system.command import Output, finish, run, signal_all, small_files, start

pytestmark = pytest.mark.slow
"""Whole runs of the command line: they stand with the slow ones, so that the core suite stays short."""

OWNER = re.compile(rb'"i":"([0-9a-f]{16})"')
ROWS, KILLS, CONCURRENCY = 120, 12, 4


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return path


def texts(count: int) -> list[dict[str, Any]]:
    return [{"text": f"row-{number:05d}: tea, 茶 and {number % 7} cups"} for number in range(count)]


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"prompt": f"row-{number:05d}: what is tea?", "completion": f"A drink, number {number}."}
        for number in range(count)
    ]


def feature(data: Path, server: Server, out: Output, *options: str, recipe: str = "topk") -> list[str | Path]:
    job: list[str | Path] = [
        "feature",
        data,
        "-r",
        recipe,
        "-t",
        "openai/toy",
        "--base-url",
        server.url,
        "-o",
        out.path,
    ]
    k = () if recipe != "topk" or any(option.startswith("k=") for option in options) else ("--set", "k=5")
    concurrency = () if "--concurrency" in options else ("--concurrency", str(CONCURRENCY))
    return [*job, *k, *concurrency, *options]


def side_files(out: Output) -> list[Path]:
    return sorted(out.path.with_name(f"{out.path.stem}.features").glob("*"))


def scored_rows(server: Server, since: int = 0) -> Counter[str]:
    """How often each row was scored: a chat row takes two posts, of which the second has scores."""
    return Counter(
        line["row"]
        for line in server.ledger()[since:]
        if line["row"] and line["body"].get("prompt_logprobs") is not None
    )


def on_disk_of(out: Output, data: Path) -> set[str]:
    """The marks of the rows whose scores are in the journal, which names them by their item."""
    lines = (line for part in out.run.glob("journal/*.jsonl") for line in part.read_bytes().split(b"\n")[:-1])
    owners = {found[1].decode() for line in lines if b'"t":"ok"' in line and (found := OWNER.search(line))}
    items = make_items(read_rows(open_seeds(data)), 0)
    return {json.dumps(item.row)[:60].partition(":")[2].strip(' "')[:9] for item in items if item.id in owners}


@pytest.fixture
def out(tmp_path: Path) -> Output:
    return Output(tmp_path / "out.jsonl")


def test_both_formats_of_servers_give_the_same_record(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(6))
    found = []
    for ways in ("prompt_logprobs", "echo"):
        out = Output(tmp_path / ways / "out.jsonl")
        out.path.parent.mkdir()
        with serve(ways) as server:
            run(*feature(data, server, out)).ended(0)
        found.append((out.path.read_bytes(), [path.read_bytes() for path in side_files(out)]))
    assert found[0] == found[1]
    assert len(found[0][1]) == 1


def test_the_arrays_are_those_of_the_model_wherever_the_record_stands(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(8))
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
    records = out.records()
    random.Random(3).shuffle(records)
    write_rows(tmp_path / "shuffled.jsonl", records)
    features = open_features(tmp_path / "shuffled.jsonl")
    for record in records:
        ids = encode(record["text"])
        found = topk_of(features.of(record))
        expected = np.stack([distribution(ids, at) for at in range(1, len(ids))])
        assert found.tokens.tolist() == ids[1:]
        assert np.abs(found.chosen - expected[np.arange(len(ids) - 1), ids[1:]]).max() < 1e-3
        assert np.abs(found.logprobs - -np.sort(-expected)[:, :5]).max() < 1e-3
        assert found.ids[:, 0].tolist() == expected.argmax(axis=1).tolist()
        assert np.abs(np.exp(found.logprobs).sum(axis=1) + found.tail - 1).max() < 2e-3
    run("verify", out.path).ended(0)


def test_a_chat_row_is_scored_at_the_tokens_of_y(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(3))
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
    for record in out.records():
        assert record["prompt"][0]["role"] == "user"
        said = record["completion"][0]["content"]
        tokens = open_features(out.path).of(record)["tokens"].tolist()
        assert tokens == encode(said + "<|im_end|>")
        assert record["features"]["tokens"] == len(tokens)


@pytest.mark.timeout(180)
def test_kills_lose_nothing_and_score_nothing_twice(tmp_path: Path, out: Output) -> None:
    rng = random.Random(7)
    data = write_rows(tmp_path / "pairs.jsonl", pairs(ROWS))
    whole = Output(tmp_path / "whole" / "out.jsonl")
    whole.path.parent.mkdir()
    with serve(latency=0.02) as server:
        job = feature(data, server, out)
        for _ in range(KILLS):
            on_disk, asked = on_disk_of(out, data), len(server.ledger())
            process, target = start(*job), asked + rng.randrange(30)
            deadline = time.monotonic() + 30
            while len(server.ledger()) < target and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            if process.poll() is not None:
                break
            signal_all(process, signal.SIGKILL)
            process.communicate()
            again = scored_rows(server, asked)
            assert not on_disk & set(again), "a row whose scores are on disk was scored again"
            assert on_disk <= on_disk_of(out, data), "scores on disk went away"
            assert len(set(again) - on_disk_of(out, data)) <= CONCURRENCY * 5 // 4, "more was lost than was in flight"
            assert not out.path.exists(), "a dataset before its run was done"
        run(*job).ended(0)
        scored = scored_rows(server)
        assert scored.total() - len(scored) <= KILLS * CONCURRENCY * 5 // 4
        run(*feature(data, server, whole)).ended(0)
    assert out.rows() == [f"row-{number:05d}" for number in range(ROWS)]
    assert out.path.read_bytes() == whole.path.read_bytes()
    assert [path.read_bytes() for path in side_files(out)] == [path.read_bytes() for path in side_files(whole)]
    assert out.manifest()["result"] == whole.manifest()["result"]
    run("verify", out.path).ended(0)


def test_a_finished_run_is_left_alone_and_an_interrupted_one_is_partial(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(40))
    with serve(latency=0.05) as server:
        process = start(*feature(data, server, out))
        while len(server.ledger()) < 20:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        finish(process).ended(130)
        assert not out.path.exists()
        assert not side_files(out)
        run("verify", out.partial.path).ended(0)
        assert 0 < len(out.partial.records()) < 40
        run(*feature(data, server, out)).ended(0)
        assert not out.partial.path.exists()
        assert not side_files(out.partial), "the arrays of the partial dataset went with it"
        asked, times = len(server.ledger()), [path.stat().st_mtime_ns for path in (out.path, *side_files(out))]
        assert "nothing was sent" in run(*feature(data, server, out)).ended(0).err
        assert len(server.ledger()) == asked
        assert [path.stat().st_mtime_ns for path in (out.path, *side_files(out))] == times


def test_another_layout_and_a_smaller_dataset_cost_nothing(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(10))
    packed, fewer = Output(tmp_path / "packed.jsonl"), Output(tmp_path / "fewer.jsonl")
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
        asked = len(scored_rows(server))
        run(*feature(data, server, packed, "--reuse", str(out.run), "--set", "layout=packed")).ended(0)
        run(*feature(data, server, fewer, "--reuse", str(out.run), "--limit", "4")).ended(0)
        assert len(scored_rows(server)) == asked
    replayed = Output(tmp_path / "replayed.jsonl")
    run("feature", data, "-r", "topk", "--set", "k=5", "--replay", out.run, "-o", replayed.path).ended(0)
    assert [path.read_bytes() for path in side_files(replayed)] == [path.read_bytes() for path in side_files(out)]
    assert packed.manifest()["result"]["features"]["bytes"] < out.manifest()["result"]["features"]["bytes"]
    lost = [each.manifest()["result"]["features"]["tail"] for each in (packed, out)]
    assert lost[0] == pytest.approx(lost[1], abs=1e-4), "five entries are all above what packing drops"
    assert len(fewer.records()) == 4
    run("verify", packed.path).ended(0)


def test_lost_arrays_of_the_run_are_damage_and_a_lost_side_file_is_made_again(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(5))
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
        (shard,) = side_files(out)
        bytes_before = shard.read_bytes()
        shard.unlink()
        run("verify", out.path).complained(5, "is missing")
        run(*feature(data, server, out)).ended(0)
        assert [path.read_bytes() for path in side_files(out)] == [bytes_before]
        flipped = bytearray(bytes_before)
        flipped[-3] ^= 16
        shard.write_bytes(flipped)
        run("verify", out.path).complained(5, "SHA-256")
        shard.unlink()
        (blobs,) = (out.run / "blobs").glob("*.bin")
        blobs.write_bytes(blobs.read_bytes()[:-7])
        run(*feature(data, server, out)).complained(5, "blobs")


@pytest.mark.parametrize("limit", [40_000, 9_000])
def test_a_full_disk_loses_no_scores_and_ends_with_seven(limit: int, tmp_path: Path, out: Output) -> None:
    """While arrays arrive, or while side files are written: what was scored is on disk, and nothing is scored twice."""
    data = write_rows(tmp_path / "texts.jsonl", texts(150))
    with serve() as server:
        run(*feature(data, server, out, "--concurrency", "3"), before=small_files(limit)).complained(7, "make room")
        assert set(scored_rows(server)) == on_disk_of(out, data)
        run(*feature(data, server, out)).ended(0)
        assert scored_rows(server).most_common(1)[0][1] == 1
    run("verify", out.path).ended(0)


def test_a_full_disk_while_side_files_are_written(tmp_path: Path, out: Output) -> None:
    data, again = write_rows(tmp_path / "texts.jsonl", texts(60)), Output(tmp_path / "again.jsonl")
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
        job = feature(data, server, again, "--reuse", str(out.run))
        run(*job, before=small_files(30_000)).complained(7, "make room")
        assert not again.path.exists()
        run(*job).ended(0)
    assert [path.read_bytes() for path in side_files(again)] == [path.read_bytes() for path in side_files(out)]


def test_arrays_of_another_run_that_are_damaged_are_asked_again(tmp_path: Path, out: Output) -> None:
    data, again = write_rows(tmp_path / "texts.jsonl", texts(8)), Output(tmp_path / "again.jsonl")
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
        (blobs,) = (out.run / "blobs").glob("*.bin")
        flipped = bytearray(blobs.read_bytes())
        flipped[5] ^= 1
        blobs.write_bytes(flipped)
        asked = scored_rows(server).total()
        run(*feature(data, server, again, "--reuse", str(out.run))).ended(0)
        assert scored_rows(server).total() == asked + 1
    assert [path.read_bytes() for path in side_files(again)] == [path.read_bytes() for path in side_files(out)]


def test_a_server_that_says_that_it_scores_is_not_believed_where_nobody_asked() -> None:
    """Answers of `label` are read again whatever they hold."""
    assert read_answer(b'{"object":"feature","feature":5,"choices":[{"message":{"content":"a"}}]}').feature is None


def test_a_server_that_cannot_score_is_told_before_row_one(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(5))
    with serve("none") as server:
        run(*feature(data, server, out)).complained(2, "cannot score a given text", "prompt_logprobs", "transformers/")
        assert not [line for line in server.ledger() if line["row"]], "a row was sent"
    assert not out.run.exists()


def test_a_dry_run_counts_and_sends_nothing(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(5))
    with serve() as server:
        done = run(*feature(data, server, out, "--dry-run")).ended(0)
        assert server.ledger() == []
    assert "requests: 5 to send" in done.err
    assert "A drink, number 0." in done.err
    assert not out.run.exists()


def test_a_row_of_more_tokens_than_the_server_takes_is_a_reject(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", [{"text": "short"}, {"text": "long " * 900}, {"text": ""}])
    with serve() as server:
        run(*feature(data, server, out)).ended(0)
    assert {reject["reason"] for reject in out.rejects()} == {"too-long", "empty-completion"}
    out.accounted(3)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([{"prompt": "a"}], (), "texts.jsonl:1: x and y are wanted"),
        ([{"text": "a"}, {"prompt": "a", "completion": "b"}], (), "texts.jsonl:2: .*one shape"),
        ([{"prompt": [{"content": "no role"}], "completion": "b"}], (), "chat messages"),
        ([{"messages": [{"role": "user", "content": "a"}]}], (), "assistant"),
        ([{"text": "a"}], ("--set", "k=0"), "--set k=0"),
        ([{"text": "a"}], ("--set", "layout=tiny"), "plain, packed"),
        ([{"text": "a"}], ("--set", "temperature=0"), "above 0"),
        ([{"text": "a"}], ("--set", "temperature=2"), "temperature 1.0 only"),
        ([{"text": "a"}], ("--set", "weights=[1,2]"), "1 teachers"),
        ([{"text": "a"}], ("--set", "max_tokens=3"), "nothing is sampled"),
        ([{"text": "a"}], ("-n", "2"), "y is given"),
        ([{"text": "a"}], ("-t", "echo"), "cannot score"),
    ],
)
def test_mistakes_cost_nothing(
    rows: list[dict[str, Any]], options: tuple[str, ...], said: str, tmp_path: Path, out: Output
) -> None:
    data = write_rows(tmp_path / "texts.jsonl", rows)
    with serve() as server:
        run(*feature(data, server, out, *options)).complained(2, said)
        assert not scored_rows(server)
    assert not out.path.exists()


@pytest.mark.parametrize("recipe", ["sampled", "hidden", "attention", "relations", "triples"])
def test_what_no_server_tells_is_refused_with_what_does(recipe: str, tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(2))
    with serve() as server:
        run(*feature(data, server, out, recipe=recipe)).complained(2, "transformers/ORG/NAME")
        assert not scored_rows(server)


def test_prompts_ask_nobody_and_store_no_answer(tmp_path: Path, out: Output) -> None:
    rows = [{**row, "solution": f"number {at}"} for at, row in enumerate(pairs(3))]
    data = write_rows(tmp_path / "pairs.jsonl", [*rows, rows[0]])
    done = run(
        *("feature", data, "-r", "prompts", "-t", "big", "-t", "small"),
        *("--map", "privileged_context=solution", "-o", out.path),
    ).ended(0)
    assert "0 bought" in done.err
    records = out.records()
    assert [record["teacher_id"] for record in records] == ["big", "small"] * 3
    assert [record["privileged_context"] for record in records[::2]] == ["number 0", "number 1", "number 2"]
    assert "completion" not in records[0]
    assert [reject["reason"] for reject in out.rejects()] == ["duplicate"]
    assert len({record["id"] for record in records}) == 6


def test_prompts_go_to_stdout_and_datasets_with_side_files_do_not(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(2))
    done = run("feature", data, "-r", "prompts", "-o", "-", "--run", tmp_path / "p.run").ended(0)
    assert [json.loads(line)["kind"] for line in done.out.strip().split("\n")] == ["prompt", "prompt"]
    run("feature", data, "-r", "topk", "-o", "-").complained(2, "side files")


def test_what_a_partial_run_leaves_is_no_name_for_an_output(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(2))
    run("feature", data, "-r", "prompts", "-o", tmp_path / "o.partial.jsonl").complained(2, "removes it")


def test_scores_can_follow_labels_at_the_same_output(tmp_path: Path, out: Output) -> None:
    """What nobody probed then is probed now."""
    data = write_rows(tmp_path / "pairs.jsonl", pairs(2))
    with serve() as server:
        job = ["--map", "instruction=prompt", "-t", "openai/toy", "--base-url", server.url, "-o", out.path]
        run("label", data, "-r", "answer", "--set", "max_tokens=2", *job)
        done = run(*feature(data, server, out, "--accept-drift")).ended(0)
    assert "2 kept" in done.err


def test_a_limit_on_tokens_holds_for_rows_of_two_posts(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "pairs.jsonl", pairs(40))
    with serve() as server:
        whole = run(*feature(data, server, out, "--dry-run")).ended(0).err
        run(*feature(data, server, out, "--max-tokens-total", "3000", "--concurrency", "8")).complained(4, "3,?000")
        spent = out.partial.manifest()["history"]["tokens"]
    assert 0 < spent <= 3000 * 3, "tokens of the toy are bytes, of which three are expected to a token"
    assert re.search(r"in prompts, 80 in answers", whole)


def test_the_summary_tells_what_a_token_takes_and_what_mass_is_lost(tmp_path: Path, out: Output) -> None:
    data = write_rows(tmp_path / "texts.jsonl", texts(3))
    with serve() as server:
        done = run(*feature(data, server, out)).ended(0)
    features = out.manifest()["result"]["features"]
    assert f"{features['tokens']:,} tokens" in done.err
    assert re.search(r"[\d.]+ a token; [\d.]+ % of the mass", done.err)
    tails = [record["features"]["tail"] * record["features"]["tokens"] for record in out.records()]
    assert features["tail"] == pytest.approx(sum(tails) / features["tokens"], abs=1e-6)
