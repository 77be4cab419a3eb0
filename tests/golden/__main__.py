"""Write the prompts, records and rejects of every golden folder again."""

from tests.golden import GOLDEN, folders, play

for folder in folders():
    files = play(folder)
    for name, content in files.items():
        (GOLDEN / folder / name).write_bytes(content)
    kept, rejected = (files[name].count(b"\n") for name in ("records.jsonl", "rejects.jsonl"))
    print(f"{folder}: {kept} records, {rejected} rejects")
