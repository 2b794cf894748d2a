"""
The same work once: a duplicate is answered with the task that there is, and of what comes at once the last is done.

    scripts/up
    python examples/once.py
"""

from __future__ import annotations

from service.client import Taskpost


def main() -> None:
    with Taskpost() as api:
        nightly = {"unique": {"key": "nightly-import"}}
        first = api.submit("demo.sleep", {"seconds": 0.5}, **nightly)
        again = api.submit("demo.sleep", {"seconds": 0.5}, **nightly)
        print("the second is the first:", again.id == first.id and again.deduplicated)
        api.wait(first.id)
        print("the third is another:", api.submit("demo.sleep", {"seconds": 0}, **nightly).id != first.id)

        for version in range(1, 6):
            index = api.submit("demo.add", {"a": version, "b": 0}, debounce={"key": "page-7", "seconds": 0.5})
        print("indexed once, version", api.wait(index.id).result)


if __name__ == "__main__":
    main()
