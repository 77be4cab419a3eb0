"""Write the prompts, records and rejects of every golden folder again."""

from tests.golden import GOLDEN, folders, play

for folder in folders():
    files = play(folder)
    for name, content in files.items():
        (GOLDEN / folder / name).write_bytes(content)
    kept = sum(content.count(b"\n") for name, content in files.items() if name.startswith("records."))
    rejected = files["rejects.jsonl"].count(b"\n")
    print(f"{folder}: {kept} records, {rejected} rejects")
