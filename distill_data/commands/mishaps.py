"""What a command on datasets refuses to do: overwrite what it reads, leave arrays behind, write what no JSON can hold.

Knows no command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson

from distill_data.data.items import Row
from distill_data.errors import UsageError

if TYPE_CHECKING:
    from distill_data.commands.rows import Step


def refuse_mishaps(step: Step) -> None:
    """Raise UsageError where a step cannot go well: see the functions below."""
    _refuse_overwriting(step)
    _refuse_leaving_arrays(step)
    _refuse_unwritable(step)


def _refuse_leaving_arrays(step: Step) -> None:
    """Raise UsageError where rows name side files, and a dataset would be written from where these are not found.

    The first row of each source tells; rows of a file are of one kind.
    """
    folders = {path.parent for name, path in step.outputs.items() if path is not None and name != "rejects"}
    for source in step.sources if folders and step.manifest is None else ():
        file = side_file(next(source.file.read()).row)
        for folder in folders if file else ():
            if folder.resolve() != source.file.path.parent.resolve() and not (folder / file).is_file():
                raise UsageError(
                    f"-o {folder}: the rows of {source.file.name} have arrays in {file}, which lies beside that "
                    "dataset and would not be found from there. Write into the folder of the dataset."
                )


def _refuse_unwritable(step: Step) -> None:
    """Raise UsageError for what no JSON can hold: names that are not UTF-8, numbers of more than 64 bits."""
    paths = [str(path) for path in (*step.outputs.values(), *step.read) if path is not None]
    try:
        orjson.dumps([paths, [source.file.name for source in step.sources], step.settings])
    except TypeError as error:
        raise UsageError(
            f"{step.command}: an argument cannot be written into the manifest, which is JSON: {error}. "
            "Names and texts must be UTF-8, and whole numbers have at most 64 bits."
        ) from None


def side_file(row: Row) -> str:
    """The file with a row's arrays, as it is named from the dataset's folder; empty where it has none."""
    features = row.get("features")
    file = features.get("file") if isinstance(features, Mapping) else None
    return file if isinstance(file, str) else ""


def _refuse_overwriting(step: Step) -> None:
    """Raise UsageError where a file to be written is a folder or a link, is read too, or would be written twice."""
    read = [path for path in (*(source.file.path for source in step.sources), *step.read) if path.exists()]
    written = [path for path in (*step.outputs.values(), *step.manifests()) if path is not None]
    for path in written:
        if [other.resolve() for other in written].count(path.resolve()) > 1:
            raise UsageError(f"-o {path}: would be written twice; give every output a file of its own.")
        if path.is_dir():
            raise UsageError(f"-o {path}: is a folder; name a file.")
        if path.exists() and any(path.samefile(each) for each in read):
            raise UsageError(f"-o {path}: is read by this command and would be overwritten. Name another file.")
        if path.is_symlink():
            raise UsageError(f"-o {path}: is a symbolic link; name the file itself, or remove the link.")
