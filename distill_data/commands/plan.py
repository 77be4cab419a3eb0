"""What a run is about, found out before anything is sent: recipe and seeds. Sends nothing and writes nothing."""

from __future__ import annotations

import array
import hashlib
import itertools
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill_data import __version__
from distill_data.commands.options import Options
from distill_data.commands.roles import FROM_STUDENTS
from distill_data.data.items import Item, Row, canonical, digest
from distill_data.data.seeds import SeedFile, make_items, mark_of, open_seeds, read_rows, save_stdin, stamp_of
from distill_data.engine.durable import file_digest, write_atomically
from distill_data.errors import DriftError, SeedError, UsageError
from distill_data.recipes import Demonstrations, Recipe, apply_settings, load_recipe, seed_path


def read_recipe(name: str, command: str, options: Options) -> Recipe:
    """The recipe with `--set` and `--samples` applied."""
    pairs = dict(options.settings)
    if options.samples is not None:
        pairs["samples"] = str(options.samples)
    return apply_settings(load_recipe(name, command), pairs)


@dataclass(slots=True)
class Seeds:
    """Seed rows that can be read again and again, in the order of the plan."""

    file: SeedFile
    options: Options
    rows: int = 0
    digest: str = ""
    """Over the rows, not the file: a CSV and a JSONL of the same rows are the same seeds."""
    pool: list[Row] = field(default_factory=list)
    """Rows kept in memory, where demonstrations are taken from the seeds."""
    places: array.array[int] = field(default_factory=lambda: array.array("q"))
    """Positions in the plan of this shard's rows, where there are shards."""
    leading: str = ""
    """The column by which rows are worked on together; see `grouping.leading_column`."""
    surveyed: dict[str, Any] = field(default_factory=dict)
    """What spares the next process the survey, while no byte of the seeds changes; empty where nothing does."""
    _stamp: tuple[int, int] = (0, 0)
    _recalled: bool = False

    @property
    def own_rows(self) -> int:
        """How many rows this process works on: all, or its shard's."""
        return len(self.places) if self.options.shard else self.rows

    def read(self) -> Iterator[tuple[str, Row]]:
        rows = read_rows(self.file, self.options.rename)
        if self.options.shuffle is not None:
            listed = list(rows)
            random.Random(self.options.shuffle).shuffle(listed)
            rows = iter(listed)
        return itertools.islice(rows, self.options.limit)

    def items(self) -> Iterator[Item]:
        return make_items(self.read(), self.options.seed)

    def own_items(self) -> Iterator[Item]:
        """Those of this process: all, or its shard's, with the ids that they have without it, since equal rows are in
        one shard."""
        shard, rows = self.options.shard, self.read()
        return make_items(_at(rows, self.places, self.file.path) if shard else rows, self.options.seed, shard)

    def first(self) -> Item:
        return next(self.items())

    def survey(self, recipe: Recipe, before: Mapping[str, Any] = {}, kept: Path | None = None) -> None:
        """Read every row once and check it against the recipe, unless `before`, the `surveyed` of an earlier process,
        is about the same bytes read in the same way; a shard's places are then in the file that `kept` names. Raises
        SeedError with file and line.
        """
        content = hashlib.sha256()
        wants_pool = recipe.demonstrations is not None and recipe.demonstrations.k > 0
        shard = self.options.shard
        self._stamp = stamp_of(self.file)  # before anything is read, so that a change meanwhile shows
        mark = "" if wants_pool else self._mark(recipe)
        if mark and before.get("mark") == mark and (not shard or self._recall(before, kept)):
            self.rows, self.digest, self.surveyed = before["rows"], before["digest"], dict(before)
            return
        for where, row in self.read():
            try:
                recipe.fill(row)
                encoded = canonical(row)
            except SeedError as error:
                gap = next((column for column in recipe.columns if column not in row), "")
                hint = f" `--map {gap}=COLUMN` renames one." if gap else ""
                raise SeedError(f"{where}: {error}.{hint}") from None
            except TypeError as error:
                raise SeedError(f"{where}: this row cannot be encoded as JSON: {error}.") from None
            content.update(encoded)
            if shard and shard.holds(mark_of(hashlib.sha256(encoded).digest())):
                self.places.append(self.rows)
            self.rows += 1
            if wants_pool:
                self.pool.append(row)
        self.digest = content.hexdigest()
        if mark and mark == self._mark(recipe):
            self.surveyed = {"mark": mark, "rows": self.rows, "digest": self.digest}
            if shard:
                self.surveyed["places"] = hashlib.sha256(self.places).hexdigest()

    def _recall(self, before: Mapping[str, Any], kept: Path | None) -> bool:
        """A shard's places, as an earlier process found them. False where they are not there as they were."""
        try:
            places = kept.read_bytes() if kept else b""
        except OSError:
            return False
        if hashlib.sha256(places).hexdigest() != before.get("places"):
            return False
        self.places.frombytes(places)
        self._recalled = True
        return True

    def keep_places(self, path: Path) -> None:
        """Write a shard's places down for the next process, unless that is where they are from. Raises DiskError."""
        if self.surveyed.get("places") and not self._recalled:
            write_atomically(path, self.places.tobytes())

    def _mark(self, recipe: Recipe) -> str:
        """A digest over the file's bytes and all that decides how they are read and checked; empty where the seeds are
        no single file that can be read."""
        options = self.options
        try:
            content = file_digest(self.file.path)
        except OSError:
            return ""
        document = self.file.path.name if self.file.format == "documents" else ""  # whose name is in its rows
        reading = [self.file.format, document, dict(options.rename), options.shuffle, options.limit]
        reading += [str(options.shard), sys.byteorder]
        return digest([__version__, content, reading, recipe.digest, recipe.command, recipe.settings])

    def origin(self) -> dict[str, str]:
        """Where rows of the Hub are from, for the manifest; nothing for files."""
        hub = self.file.hub
        return {"hub": hub.repository, "revision": hub.revision} if hub else {}

    def changed(self) -> DriftError | None:
        """An error to stop with, where the rows are no longer those that were surveyed."""
        if stamp_of(self.file) == self._stamp:
            return None
        content = hashlib.sha256()
        for _, row in self.read():
            content.update(canonical(row))
        if content.hexdigest() == self.digest:
            return None
        return DriftError(f"{self.file.path}: the seeds changed while they were being worked on.")


def _at(rows: Iterator[tuple[str, Row]], places: Iterable[int], path: Path) -> Iterator[tuple[str, Row]]:
    """The rows at these places, which ascend; those between are passed over. Raises SeedError where one is none."""
    passed = 0
    for place in places:
        if (row := next(itertools.islice(rows, place - passed, None), None)) is None:
            raise SeedError(f"{path}: the seeds became fewer while they were being worked on.")
        yield row
        passed = place + 1


def find_seeds(name: str, options: Options, directory: Path | None) -> Seeds:
    """Seeds by path, `@name` of a shipped set, a split on the Hub, or `-` for stdin, copied to the directory first."""
    if name == "-":
        if directory is None:
            raise UsageError(
                "seeds from stdin need a run directory, so they can't be combined with --dry-run or --replay."
            )
        return Seeds(save_stdin(sys.stdin.buffer, directory), options)
    return Seeds(open_seeds(seed_path(name) if name.startswith("@") else Path(name)), options)


def find_pool(demonstrations: Demonstrations | None, seeds: Seeds, recipe: Recipe) -> list[Row]:
    """The rows that demonstrations are chosen from."""
    if demonstrations is None or demonstrations.k == 0:
        return []
    if demonstrations.source == "seeds":
        rows = seeds.pool
    else:
        source = demonstrations.source
        file = open_seeds(seed_path(source) if source.startswith("@") else Path(source))
        rows = [recipe.fill(row) for _, row in read_rows(file)]
    if len(rows) <= demonstrations.k:
        raise SeedError(
            f"{demonstrations.k} demonstrations are wanted and there are {len(rows)} rows to take them from, the row "
            "in question included. Lower --set demonstrations.k, or give more rows."
        )
    return rows


def plan_digest(recipe: Recipe, seeds: Seeds, pool: list[Row], identities: Mapping[str, Any], options: Options) -> str:
    """One digest over everything that decides the bytes of the dataset, besides the answers."""
    parts = {
        "recipe": recipe.digest,
        "command": recipe.command,
        "settings": recipe.settings,
        "sampling": recipe.sampling,
        "samples": recipe.samples,
        "demonstrations": recipe.demonstrations
        and [recipe.demonstrations.k, recipe.demonstrations.pick, recipe.demonstrations.by],
        "pool": digest(pool),
        "seeds": seeds.digest,
        "teachers": identities,
        "seed": options.seed,
        **({"rows": [options.rows, options.max_candidates, options.answers]} if options.rows is not None else {}),
        **({"annotation": _annotation(options)} if recipe.command in (*FROM_STUDENTS, "score") else {}),
        "resample": options.resample,
    }
    return hashlib.sha256(canonical(parts)).hexdigest()


def questions_digest(recipe: Recipe, options: Options) -> str:
    """One digest over what decides the questions, besides seeds, samples and who is asked."""
    shown = recipe.demonstrations
    parts = [recipe.digest, recipe.command, recipe.settings, recipe.sampling, options.seed, options.answers_column]
    return digest([*parts, [shown.source, shown.k, shown.pick, shown.by] if shown else []])


def _annotation(options: Options) -> list[Any]:
    """The options that decide what becomes of students' answers."""
    previous = [options.previous.name, file_digest(options.previous)] if options.previous else []
    kinds = [options.kind, *options.other_kinds]
    verifier: list[str] = []
    if options.verifier:
        from distill_data.quality.imported import fingerprint

        verifier = [options.verifier, fingerprint(options.verifier)]
    return [kinds, options.answers_column, options.canaries, verifier, options.round, previous]
