"""The frame of commands on datasets: rows in, files out that are whole or absent, a manifest that says how they came.

    opened(names) -> is everything there already? -> fill drafts -> seal -> rename -> manifests

Equal inputs and settings leave the files as they are, so `make` sees no change. Knows no command: what becomes of a
row is the `fill` or the `decide` that it is given. Asks no model.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import orjson

from distill_data import __version__
from distill_data.commands.manifests import described_in, lineage_of, result_of
from distill_data.commands.mishaps import refuse_mishaps
from distill_data.data.items import Row, digest
from distill_data.data.rows import Line, RowsFile, open_rows
from distill_data.data.seeds import save_stdin
from distill_data.engine.durable import disk_error, file_digest, sync_directory, write_atomically
from distill_data.engine.publish import Draft, files_of
from distill_data.errors import SeedError, UsageError, YieldError
from distill_data.recipes import seed_path

Emit = Callable[[str, bytes], None]
"""Write lines to the output of this name."""
Fill = Callable[[Emit], Mapping[str, Any]]
"""Write every output; what the manifest's result says about it."""
Verdict = tuple[str, str] | None
"""None keeps a row; else (reason, detail). A reason is short and stable, because it is counted."""
Decide = Callable[[int, Row], Verdict]
"""(ordinal from 0, row) to a verdict. Raises SeedError, without the place, where a row lacks what is needed."""


class Source(NamedTuple):
    """A dataset that is read."""

    file: RowsFile
    sha256: str
    lineage: tuple[Mapping[str, Any], ...]
    """The steps that made it, oldest first, by the manifest beside it; none for rows from elsewhere."""

    def describe(self) -> dict[str, Any]:
        """For a manifest."""
        hub = self.file.seeds.hub if self.file.seeds else None
        commit = {"hub": hub.repository, "revision": hub.revision} if hub else {}
        return {"name": Path(self.file.name).name, "sha256": self.sha256, **commit, "lineage": list(self.lineage)}


@dataclass(frozen=True, slots=True)
class Step:
    """One command on datasets."""

    command: str
    sources: Sequence[Source]
    settings: Mapping[str, Any]
    """All that decides the output beside the sources, as JSON."""
    outputs: Mapping[str, Path | None]
    """What the manifest calls each file, to its path. `dataset` is the first; None is stdout."""
    read: Sequence[Path] = field(default=())
    """Further files that decide the output: word lists, schemas, benchmarks."""
    parts: bool = False
    """Whether every output is a dataset with a manifest of its own."""
    manifest: Path | None = None
    """Where the manifest of rows in another shape lies, which point at no arrays any more; else beside the dataset."""

    def plan(self) -> str:
        """Digest of all that decides the bytes of the output."""
        return digest(
            {
                "command": self.command,
                "version": __version__,
                "sources": [source.sha256 for source in self.sources],
                "settings": self.settings,
                "read": [_digest_read(path) for path in self.read],
                "outputs": list(self.outputs),
            }
        )

    def manifests(self) -> dict[Path, tuple[str, ...]]:
        """The manifest beside each dataset, to the outputs that it describes; none for stdout."""
        if self.manifest is not None:
            return {self.manifest: tuple(self.outputs)}
        if self.parts:
            return {files_of(path).manifest: (name,) for name, path in self.outputs.items() if path is not None}
        first = next(iter(self.outputs.values()))
        return {} if first is None else {files_of(first).manifest: tuple(self.outputs)}


class Done(NamedTuple):
    """How a command on datasets ended."""

    result: Mapping[str, Any]
    """As in the manifest: rows, kept, reasons, files, and what the command adds."""
    changed: bool
    """False where everything was there already."""
    output: str


@contextmanager
def opened(*names: str) -> Iterator[list[Source]]:
    """The datasets of these names: a path, `@NAME` of a shipped file, or `-`, once, for stdin.

    Raises UsageError for a name that cannot be, SeedError where one is not there or cannot be read.
    """
    if names.count("-") > 1:
        raise UsageError("stdin (-) can be read once only; give the other rows as files.")
    with ExitStack() as stack:
        yield [_open(name, stack) for name in names]


def _open(name: str, stack: ExitStack) -> Source:
    if not name:
        raise UsageError("the name of a dataset is empty; name a file, or - for stdin.")
    if name == "-":
        if sys.stdin is None:
            raise UsageError("stdin (-) is closed; there are no rows to read.")
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="distill-data."))
        saved = save_stdin(sys.stdin.buffer, Path(folder))
        file = open_rows(saved.path, "stdin")
    else:
        file = open_rows(seed_path(name), name)
    sha256 = file.digest()
    return Source(file, sha256, lineage_of(file.path, sha256))


def _digest_read(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def publish_rows(step: Step, fill: Fill) -> Done:
    """Write every output of the step and its manifest, or nothing. Raises DiskError, UsageError where files would be
    overwritten that are read, or arrays left behind, and what `fill` raises.

    Where the manifest beside the output says that the same step wrote files that are still as they were, nothing is
    done. With stdout as the output there is no manifest.
    """
    first = next(iter(step.outputs.values()))
    drafts: dict[str, Draft | _Stdout] = {}
    try:
        refuse_mishaps(step)
        plan = step.plan()
        there = _is_there(plan, step)
        if there:
            return Done(there, False, str(first))
        for name, target in step.outputs.items():
            drafts[name] = _Stdout() if target is None else _draft(target)
        result = _result(step, plan, drafts, fill)
        for draft in reversed(drafts.values()):
            draft.publish()
        for folder in {path.parent for path in step.outputs.values() if path is not None}:
            sync_directory(folder)
        _write_manifests(step, result)
    except BrokenPipeError:
        raise  # nobody reads stdout any more; that is no trouble with a disk
    except OSError as error:
        raise disk_error(error, first or Path("stdout")) from error
    finally:
        for draft in drafts.values():
            draft.discard()
    return Done(result, True, str(first or "-"))


def _result(step: Step, plan: str, drafts: Mapping[str, Draft | _Stdout], fill: Fill) -> dict[str, Any]:
    facts = fill(lambda name, lines: drafts[name].write(lines))
    return {
        "command": step.command,
        **facts,
        "settings": dict(step.settings),
        "sources": facts.get("sources") or [source.describe() for source in step.sources],
        "plan": plan,
        "files": {name: draft.seal() for name, draft in drafts.items()},
    }


def _write_manifests(step: Step, result: Mapping[str, Any]) -> None:
    """One for all outputs; or one for each part, which tells this part's rows and calls its file the dataset."""
    history = {"finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "version": __version__}
    for path, names in step.manifests().items():
        own = dict(result)
        if step.parts:
            described = result["files"][names[0]]
            own |= {"part": names[0], "kept": described["rows"], "files": {"dataset": described}}
        manifest = {"result": own, "history": history}
        write_atomically(path, orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n", mode=0o644)


def keep_rows(step: Step, decide: Decide, prepare: Callable[[], Mapping[str, Any]] = dict) -> Done:
    """Keep rows of the step's one source, byte for byte, and write the others with their reasons to `rejects`.

    `prepare` is called before the first row, unless all is there already; what it gives goes into the result.
    Raises YieldError, with nothing written, where no row is kept.
    """
    (source,) = step.sources
    rejects = "rejects" in step.outputs

    def fill(emit: Emit) -> Mapping[str, Any]:
        facts = prepare()
        rows, kept, reasons = 0, 0, Counter[str]()
        for rows, (number, raw, row) in enumerate(source.file.read(), 1):
            try:
                verdict = decide(rows - 1, row)
            except SeedError as error:
                raise SeedError(f"{source.file.place(number)}: {error}") from None
            if verdict is None:
                kept += 1
                emit("dataset", raw)
            else:
                reasons[verdict[0]] += 1
                if rejects:
                    emit("rejects", make_reject(number, raw, verdict))
        if not kept:
            said = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            raise YieldError(f"{source.file.name}: of {rows:,} rows none is left ({said}); nothing was written.")
        counts = {"rows": rows, "kept": kept, "rejected": rows - kept}
        return {**counts, "reasons": dict(sorted(reasons.items())), **facts}

    return publish_rows(step, fill)


T = TypeVar("T")


def with_place(source: Source, read: Callable[[Row], T]) -> Iterator[tuple[Line, T]]:
    """Each line of a source with what is read of its row. Raises SeedError with the place."""
    for line in source.file.read():
        try:
            found = read(line.row)
        except SeedError as error:
            raise SeedError(f"{source.file.place(line.number)}: {error}") from None
        yield line, found


def outputs_of(output: str, rejects: str = "") -> dict[str, Path | None]:
    """The files of a command that keeps rows: for `-` stdout, and the rejects only where a file is named.

    Raises UsageError for a name that cannot be.
    """
    if rejects == "-":
        raise UsageError("--rejects -: stdout is for the dataset; name a file.")
    if output == "-":
        return {"dataset": None, **({"rejects": Path(rejects)} if rejects else {})}
    files = files_of(Path(output))
    beside = Path(rejects) if rejects else files.rejects
    if beside.parent.resolve() != files.dataset.parent.resolve():
        raise UsageError(
            f"--rejects {rejects}: the manifest names files beside it; name one in {files.dataset.parent}."
        )
    return {"dataset": files.dataset, "rejects": beside}


def make_reject(number: int, raw: bytes, verdict: tuple[str, str]) -> bytes:
    """A line of the rejects, with the row as it came."""
    reason, detail = verdict
    head = orjson.dumps({"line": number, "outcome": "rejected", "reason": reason, "detail": detail})
    return b'%s,"row":%s}\n' % (head[:-1], raw.strip())


class _Stdout:
    """Stdout as an output: what is written is held back until all of it is there."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise UsageError("-o -: stdout is closed; name a file.")
        self._held: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed in discard

    def write(self, lines: bytes) -> None:
        self._held.write(lines)

    def seal(self) -> dict[str, Any]:
        return {"name": "-"}

    def publish(self) -> None:
        self._held.seek(0)
        shutil.copyfileobj(self._held, sys.stdout.buffer)
        sys.stdout.buffer.flush()

    def discard(self) -> None:
        with suppress(OSError):  # on a full disk it cannot be flushed
            self._held.close()


def _draft(target: Path) -> Draft:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Draft(target)


def _is_there(plan: str, step: Step) -> Mapping[str, Any]:
    """The result, where this plan wrote these files and nobody has changed them since; else nothing."""
    result: dict[str, Any] = {}
    files: dict[str, Any] = {}
    for path, names in step.manifests().items():
        found = result_of(path)
        described = described_in(found)
        if found.get("plan") != plan:
            return {}
        for name in names:
            target, each = step.outputs[name], described.get("dataset" if step.parts else name, {})
            if target is None or each.get("name") != target.name or not target.is_file():
                return {}
            if file_digest(target) != each.get("sha256"):
                return {}
            files[name] = each
        result = result or {key: value for key, value in found.items() if not (step.parts and key in ("part", "kept"))}
    return {**result, "files": files} if result else {}
