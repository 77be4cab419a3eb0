"""Datasets that the library `datasets` saved or serves, as seeds and as rows: the real library, a Hub on loopback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill_data.commands.options import Options
from distill_data.commands.plan import Seeds
from distill_data.data.hub import exposure, find_split, hub_endpoint
from distill_data.data.rows import make_jump, open_rows
from distill_data.data.seeds import make_items, open_seeds, read_rows
from distill_data.errors import DriftError, SeedError
from tests.cli.command import ROOT, paragraph, run
from tests.hubserver import TOKEN, Fault, Hub, serving

ROWS: list[dict[str, Any]] = [
    {"instruction": f"task {number} 任务", "gold": number, "tags": ["a", "b"][: number % 3], "more": {"x": number / 2}}
    for number in range(2500)
]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as server:
        yield server


def settled(hub: Hub, tmp_path: Path, token: str = "") -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), **({"HF_TOKEN": token} if token else {})}


def test_a_name_has_one_form() -> None:
    for name in ("hf/one:train", "hf/a/b", "hf/a/b:", "hf/a/b@:train", "hf/a/b:c/d/e", "hf/../b/c:train", "hf/a b/c:d"):
        with pytest.raises(SeedError, match="a dataset on the Hub is hf/ORG/NAME:SPLIT"):
            find_split(name)


def test_a_token_is_safe_on_https_and_on_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    safe = ("https://huggingface.co", "http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:5")
    exposed = ("http://huggingface.co", "http://10.0.0.1", "ftp://localhost.example", "huggingface.co")
    assert [bool(exposure(url)) for url in (*safe, *exposed)] == [False] * 4 + [True] * 4
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "localhost")
    assert [bool(exposure(url)) for url in safe] == [False, True, False, True]


@pytest.mark.parametrize(
    "url", ["http://[bad", "nonsense", "ftp://a.b", "http://", "https://a.b:x", "https://a b", "https://a?b"]
)
def test_an_endpoint_that_is_none_is_told_apart(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(SeedError, match=r"HF_ENDPOINT: is no URL of a Hub; write it as https://huggingface\.co"):
        hub_endpoint()
    with pytest.raises(SeedError, match="HF_ENDPOINT: is no URL of a Hub"):
        find_split("hf/me/data:train")
    assert hub_endpoint("https://Hub.example/") == "https://Hub.example"


def test_a_password_in_the_endpoint_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:sesame@hub.example")
    with pytest.raises(SeedError, match="HF_ENDPOINT: holds a user name or password") as refused:
        find_split("hf/me/data:train")
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("name", ["hf/me/data:train", "saved"])
def test_without_the_library_the_extra_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    script = (
        "import sys\nsys.modules['datasets'] = sys.modules['huggingface_hub'] = None\n"
        "from distill_data.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "filter", name, "-c", "refusal@text", "-o", "-"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "pip install 'distill-data[data]'" in paragraph(done, 2)


@pytest.mark.datasets
def test_a_saved_dataset_has_the_rows_of_its_file(tmp_path: Path) -> None:
    import datasets

    (tmp_path / "s.jsonl").write_bytes(lines(ROWS))
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(tmp_path / "saved", num_shards=3)
    same, items = (list(make_items(read_rows(open_seeds(tmp_path / each)), 0)) for each in ("s.jsonl", "saved"))
    assert [item.row for item in items] == ROWS
    assert [item.id for item in items] == [item.id for item in same]
    assert items[7].where == "saved:8"
    saved.shuffle(seed=1).select(range(10)).save_to_disk(tmp_path / "few")
    some = open_rows(tmp_path / "few")
    assert [line.row for line in some.read()] == saved.shuffle(seed=1).select(range(10)).to_list()
    assert make_jump(some)(9) == saved.shuffle(seed=1)[9]


@pytest.mark.datasets
def test_a_split_is_named_where_there_are_several(tmp_path: Path) -> None:
    import datasets

    train, test = datasets.Dataset.from_list(ROWS[:5]), datasets.Dataset.from_list(ROWS[5:8])
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(tmp_path / "two")
    datasets.DatasetDict({"train": train}).save_to_disk(tmp_path / "one")
    train.save_to_disk(tmp_path / "none")
    assert [row for _, row in read_rows(open_seeds(tmp_path / "two:test"))] == ROWS[5:8]
    assert [row for _, row in read_rows(open_seeds(tmp_path / "one"))] == ROWS[:5]
    for name, said in (
        ("two", r"name one of its splits \(train, test\), such as .*two:train"),
        ("two:valid", r"name one of its splits \(train, test\)"),
        ("none:train", "has no splits; leave :train out"),
        ("gone:train", "No such file"),
    ):
        with pytest.raises(SeedError, match=said):
            open_seeds(tmp_path / name)


@pytest.mark.datasets
def test_a_saved_dataset_that_changes_or_is_damaged_is_noticed(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS[:5]).save_to_disk(tmp_path / "s")
    seeds = Seeds(open_seeds(tmp_path / "s"), Options())
    seeds.digest = "of other rows"
    assert isinstance(seeds.changed(), DriftError)
    arrow = next((tmp_path / "s").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:200])
    with pytest.raises(SeedError, match=r"s: cannot read this dataset"):
        list(read_rows(open_seeds(tmp_path / "s")))
    (tmp_path / "s" / "state.json").write_text("{")
    with pytest.raises(SeedError, match=r"s: cannot read this dataset"):
        open_seeds(tmp_path / "s")


@pytest.mark.datasets
def test_bytes_in_a_saved_dataset_are_refused_by_row_and_column(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list([{"raw": b"\0"}]).save_to_disk(tmp_path / "s")
    with pytest.raises(SeedError, match=r"s:1: column 'raw' holds bytes, which JSON cannot express"):
        list(read_rows(open_seeds(tmp_path / "s")))


@pytest.mark.datasets
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_split_on_the_hub_gives_the_rows_of_its_files_in_order(tmp_path: Path, hub: Hub, kind: str) -> None:
    import pyarrow
    from pyarrow import parquet

    def packed(rows: list[dict[str, Any]]) -> bytes:
        content = io.BytesIO()
        parquet.write_table(pyarrow.Table.from_pylist(rows), content)
        return content.getvalue() if kind == "parquet" else lines(rows)

    files = {f"data/train-0000{part}-of-00002.{kind}": packed(ROWS[part * 1250 : (part + 1) * 1250]) for part in (0, 1)}
    hub.create(
        "me/data",
        {"README.md": b"---\nlicense: mit\n---\n", f"data/test-00000-of-00001.{kind}": packed(ROWS[:3]), **files},
    )
    done = run("filter", "hf/me/data:train", "-c", "words@instruction:1,9", "-o", "-", **settled(hub, tmp_path))
    assert (done.returncode, done.stderr) == (0, "2,500 rows = 2,500 kept + 0 rejected\n")
    assert [json.loads(line) for line in done.stdout.splitlines()] == ROWS
    assert not [
        each for each in hub.ledger if "test-0" in each.path and each.method == "GET" and "resolve" in each.path
    ]


@pytest.mark.datasets
def test_the_commit_that_was_read_is_in_the_manifest_and_can_be_asked_for(tmp_path: Path, hub: Hub) -> None:
    repository = hub.create("me/data", {"train.jsonl": lines(ROWS[:4])})
    old = repository.commits[0][0]
    repository.commit({"train.jsonl": lines(ROWS[4:6])}, "other rows")

    def labelled(name: str, out: str) -> dict[str, Any]:
        done = run("label", name, "-r", "answer", "-t", "echo", "-o", tmp_path / out, **settled(hub, tmp_path))
        assert done.returncode == 0, done.stderr
        return dict(json.loads((tmp_path / out).with_suffix(".manifest.json").read_bytes())["result"]["seeds"])

    now = labelled("hf/me/data:train", "now.jsonl")
    before = labelled(f"hf/me/data@{old}:train", "before.jsonl")
    assert (now["rows"], now["hub"], now["revision"]) == (2, "me/data", repository.commits[1][0])
    assert (before["rows"], before["revision"]) == (4, old)
    (tmp_path / "s.jsonl").write_bytes(lines(ROWS[:4]))
    assert (
        run("label", tmp_path / "s.jsonl", "-r", "answer", "-t", "echo", "-o", tmp_path / "file.jsonl").returncode == 0
    )
    assert (tmp_path / "file.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()


@pytest.mark.datasets
def test_a_folder_that_is_called_as_the_dataset_is_not_read_instead(tmp_path: Path, hub: Hub) -> None:
    hub.create("me/data", {"train.jsonl": lines(ROWS[:2])})
    folder = tmp_path / "me" / "data"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_bytes(lines(ROWS[5:9]))
    done = run(
        "filter", "hf/me/data:train", "-c", "regex@instruction:.", "-o", "-", cwd=tmp_path, **settled(hub, tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == ROWS[:2]


@pytest.mark.datasets
def test_a_token_stays_here_where_a_proxy_would_see_it(tmp_path: Path, hub: Hub) -> None:
    hub.create("me/secret", {"train.jsonl": lines(ROWS[:2])}, private=True)
    settings = settled(hub, tmp_path, TOKEN) | {"http_proxy": hub.url, "no_proxy": ""}
    shown = paragraph(run("filter", "hf/me/secret:train", "-c", "regex@instruction:.", "-o", "-", **settings), 2)
    assert "refuses access (401), and no token is sent there: it is asked through a proxy" in shown
    assert hub.ledger
    assert [asked.authorization for asked in hub.ledger if asked.authorization] == []


@pytest.mark.datasets
@pytest.mark.parametrize(
    ("path", "says"),
    [("{}/mine.txt", "Data files don't belong to me/others"), ("../../../..{}/mine.txt", "Unable to find 'hf://")],
)
def test_a_dataset_on_the_hub_cannot_name_files_of_this_machine(tmp_path: Path, hub: Hub, path: str, says: str) -> None:
    (tmp_path / "mine.txt").write_text("mine\n")
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {}\n---\n"
    for name, named in (("own", "train.txt"), ("others", path.format(tmp_path))):
        hub.create(f"me/{name}", {"README.md": card.format(named).encode(), "train.txt": b"x\n"})
    command = ["-c", "words@text:1,9", "-o", "-"]
    own = run("filter", "hf/me/own:train", *command, **settled(hub, tmp_path))
    assert (own.returncode, json.loads(own.stdout)["text"]) == (0, "x"), own.stderr
    said = paragraph(run("filter", "hf/me/others:train", *command, **settled(hub, tmp_path)), 2)
    assert says in said


@pytest.mark.datasets
def test_what_the_hub_will_not_give_is_said_in_a_paragraph(tmp_path: Path, hub: Hub) -> None:
    hub.create("me/data", {"train.jsonl": lines(ROWS[:2])})
    hub.create("me/secret", {"train.jsonl": lines(ROWS[:2])}, private=True)

    def said(name: str, token: str = "", **variables: str) -> str:
        settings = {**settled(hub, tmp_path, token), **variables}
        return paragraph(run("filter", name, "-c", "words@instruction:1,9", "-o", "-", **settings), 2)

    assert "Available splits: ['train']" in said("hf/me/data:valid")
    assert "has no such dataset or revision" in said("hf/me/data@nowhere:train", TOKEN)
    assert "refuses access (401); it may be private or gated: set HF_TOKEN" in said("hf/me/secret:train")
    assert "offline mode is on" in said("hf/me/data:train", HF_HUB_OFFLINE="1")
    gone = said("hf/me/data:train", TOKEN, HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot be reached" in gone
    hub.faults.append(Fault("GET", "api/datasets/me/data", 503))
    assert "503" in said("hf/me/data:train", TOKEN)
    assert TOKEN not in gone
    done = run(
        "filter", "hf/me/secret:train", "-c", "words@instruction:1,9", "-o", "-", **settled(hub, tmp_path, TOKEN)
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
