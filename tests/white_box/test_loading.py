"""From a name to a model in memory: folders, GGUF files, the hub; and what each refuses in words."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from distill_data.errors import UsageError
from distill_data.teachers import dequantised
from distill_data.teachers.checkpoints import find, label_of
from distill_data.teachers.loading import count_layers, fingerprint, identify, load, read_fingerprint
from distill_data.teachers.protocol import Profile
from distill_data.teachers.weights import locate
from tests.white_box.tiny import POSITIONS, make_tiny, make_tokenizer

pytestmark = [pytest.mark.white_box]


def profile_of(model: object) -> Profile:
    return Profile(name=f"transformers/{model}", model=f"transformers/{model}")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny", vocab_extra=5)


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_a_folder_is_loaded_and_said_aloud(tiny: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = load(profile_of(tiny))
    assert (loaded.context, loaded.vocab_size, loaded.label) == (POSITIONS, 405, "tiny")
    assert loaded.stops == {loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert not loaded.model.training and str(loaded.model.dtype) == f"torch.{loaded.dtype}"
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert said == [f"transformers/{tiny}: on {loaded.device} in {loaded.dtype}"]


def test_identity_names_what_decides_answers_and_no_place(tiny: Path, copy: Path) -> None:
    identity = identify(profile_of(tiny))
    assert set(identity) == {"engine", "version", "torch", "weights", "dtype"}
    assert identity == identify(profile_of(copy)) and str(tiny) not in repr(identity)


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "tokenizer.json", "model.safetensors"])
def test_each_file_that_decides_answers_is_in_the_identity(copy: Path, name: str) -> None:
    before = identify(profile_of(copy))
    with (copy / name).open("ab") as file:
        file.write(b" ")
    assert identify(profile_of(copy)) != before


def test_layers_and_fingerprint_are_read_without_weights(tiny: Path) -> None:
    profile = profile_of(tiny)
    loaded = load(profile)
    assert count_layers(profile) == 2
    assert read_fingerprint(profile) == fingerprint(loaded.tokenizer, "tiny", loaded.vocab_size)


def test_fingerprints_tell_template_and_size_apart() -> None:
    one, other = fingerprint(make_tokenizer(), "a", 400), fingerprint(make_tokenizer(None), "a", 405)
    assert one["probe"] == other["probe"] and len(one["probe"]) == len(one["template"]) == 16
    assert (other["template"], other["vocab_size"]) == ("", 405)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere", "there is no folder"),
        ("nowhere.gguf", "no weights at nowhere.gguf"),
        ("no-such-org/no-such-model", "the Hugging Face hub does not give"),
    ],
)
def test_what_is_not_there_is_refused_with_advice(
    model: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=words):
        find(profile_of(model))


def test_a_folder_wins_over_the_hub(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.parent.parent)
    name = f"{tiny.parent.name}/{tiny.name}"
    assert find(profile_of(name)).folder == Path(name)
    assert label_of(profile_of(name)) == "tiny" and label_of(profile_of("org/name")) == "org/name"


def test_damage_is_refused_without_a_traceback(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UsageError, match="cannot load"):
        load(profile_of(copy))
    (copy / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"no config\.json with safetensors"):
        load(profile_of(copy))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ("{oops", "cannot be read"),
        ("[]", "no weight_map"),
        ("{}", "no weight_map"),
        ('{"weight_map": {"a": 7}}', "names 7"),
        ('{"weight_map": {"a": "../other.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"a": "sub/model.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"a": "/tmp/model.safetensors"}}', "no file beside it"),
        ('{"weight_map": {"a": "missing.safetensors"}}', "no config.json with safetensors"),
    ],
)
def test_an_index_names_files_beside_it(copy: Path, index: str, words: str) -> None:
    (copy / "model.safetensors.index.json").write_text(index)
    with pytest.raises(UsageError, match=words):
        identify(profile_of(copy))


def test_missing_tensors_are_never_made_up(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"lack 1 .*model\.layers\.1\.mlp\.up_proj\.weight"):
        load(profile_of(copy))


def test_code_that_a_model_brings_along_is_never_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(UsageError, match="cannot load"):
        load(profile_of(copy))


def test_missing_packages_are_named_with_their_extra(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill_data.teachers.loading.REQUIRED", ("torch", "no-such-package"))
    with pytest.raises(UsageError, match=r"no-such-package.*white-box"):
        identify(profile_of(tiny))


def test_a_conversion_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    versions = {"transformers": "1", "gguf": "2"}
    gguf = tmp_path / "broken.gguf"
    gguf.write_bytes(b"GGUF but not really")
    with pytest.raises(UsageError, match="cannot read"):
        dequantised.dequantise("transformers/broken.gguf", gguf, "ab" * 32, versions)
    assert list((tmp_path / "dequantised").iterdir()) == []
    monkeypatch.setattr(dequantised, "_convert", lambda name, gguf, folder: (folder / "config.json").write_text("{}"))
    made = dequantised.dequantise("transformers/broken.gguf", gguf, "ab" * 32, versions)
    assert made.name == "abababababababab-transformers-1-gguf-2" and (made / "config.json").is_file()
    monkeypatch.setattr(dequantised, "_convert", None)
    assert dequantised.dequantise("transformers/broken.gguf", gguf, "ab" * 32, versions) == made


def test_a_conversion_is_on_the_disk_and_what_killed_ones_left_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    old, new = tmp_path / "dequantised" / ".convert-old", tmp_path / "dequantised" / ".convert-new"
    for left in (old, new):
        (left / "model").mkdir(parents=True)
    os.utime(old, (0, 0))
    synced: list[int] = []

    def sync(handle: int) -> None:
        assert not (tmp_path / "dequantised" / name).exists() or len(synced) == 3
        synced.append(os.fstat(handle).st_ino)

    def convert(name: str, gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text("")

    name = "abababababababab-transformers-1-gguf-2"
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(dequantised, "_convert", convert)
    made = dequantised.dequantise("x", tmp_path / "x.gguf", "ab" * 32, {"transformers": "1", "gguf": "2"})
    assert not old.exists() and new.exists()
    files = {(made / each).stat().st_ino for each in ("config.json", "model.safetensors")}
    assert set(synced[:2]) == files
    assert synced[2:] == [made.stat().st_ino, made.parent.stat().st_ino]


def test_only_one_thread_at_a_time_tells_transformers_to_be_quiet() -> None:
    """Two that overlap would leave it as the one found it that came in second: quiet for good."""
    from transformers.utils import logging as talk

    before = talk.get_verbosity()
    inside = threading.Event()

    def second() -> None:
        with dequantised.quiet():
            inside.set()

    thread = threading.Thread(target=second)
    with dequantised.quiet():
        thread.start()
        assert not inside.wait(0.05)
    thread.join(10)
    assert inside.is_set() and talk.get_verbosity() == before


@pytest.mark.local
def test_the_embedded_weights_give_what_transformers_reads_from_the_gguf(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    gguf = locate("smollm2").resolve()
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path))
    (tmp_path / gguf.name).symlink_to(gguf)
    profile = profile_of("smollm2")
    capfd.readouterr()
    ours = load(profile)
    assert "%|" not in capfd.readouterr().err
    direct: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    ids = torch.tensor([ours.tokenizer("The capital of France is Paris, and it has many bridges.")["input_ids"]])
    with torch.inference_mode():
        expected = direct(ids).logits
        found = ours.model(ids.to(ours.device)).logits.float().cpu()
    assert (found - expected).abs().max() < (1e-5 if ours.dtype == "float32" else 0.5)
    assert (ours.context, ours.vocab_size, count_layers(profile)) == (8192, 49152, 30)
    assert [record for record in caplog.records if "converting" in record.getMessage()]
    caplog.clear()
    monkeypatch.setattr(dequantised, "_convert", None)
    load(profile)
    assert not [record for record in caplog.records if "converting" in record.getMessage()]
