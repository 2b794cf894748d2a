"""
A long import that goes on where it stopped, after a crash as after a deploy.

    taskpost up --handlers examples.imports    # in one terminal
    python examples/imports.py                 # in another

Rows behind the last checkpoint are read again, so writing one twice must do no harm: here the primary key sees to that.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from workers import Context, task

BATCH = 100  # rows between two checkpoints


@task("imports.orders", timeout=600)
def import_orders(ctx: Context, source: str, target: str, dies_at: int = 0) -> dict[str, int]:
    """Copy the lines `id,amount` of *source* into a table; to show what follows, the first run dies at *dies_at*."""
    begun = ctx.last_checkpoint or {"offset": 0, "rows": 0}
    offset, rows = begun["offset"], begun["rows"]
    ctx.log.info("from row %d on", rows)
    with closing(sqlite3.connect(target)) as table, Path(source).open("rb") as lines:
        table.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, amount REAL)")
        lines.seek(offset)
        while batch := [line for _ in range(BATCH) if (line := lines.readline())]:
            for line in batch:
                rows += 1
                if rows == dies_at and begun["rows"] == 0:
                    os._exit(1)
                table.execute("INSERT OR IGNORE INTO orders VALUES (?, ?)", line.decode().split(","))
            table.commit()
            ctx.checkpoint({"offset": lines.tell(), "rows": rows})
            ctx.progress(rows)
    return {"rows": rows, "began_at": begun["rows"]}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "orders.csv"), Path(folder, "orders.sqlite")
        source.write_text("".join(f"{number},{number * 0.5}\n" for number in range(1, 1001)))
        handle = import_orders.submit_sync(str(source), str(target), dies_at=450)
        result = handle.get(timeout=60)
        print(f"{result['rows']} rows read; the last run began at row {result['began_at']}")
        print(f"processes lost: {handle.task.crashes}")
        with closing(sqlite3.connect(target)) as table:
            ((rows, amount),) = table.execute("SELECT count(*), sum(amount) FROM orders")
        print(f"{rows} rows in the table, {amount:g} altogether")


if __name__ == "__main__":
    main()
