"""
Three tenants share a service that bears two calls at a time: one flow key, and turns by group.

    taskpost up                     # in one terminal
    python examples/tenants.py      # in another

The first tenant comes first, with twenty tasks; the others with two each do not wait for all of them.
"""

from service.client import Taskpost

KEY = "example.service"
TENANTS = {"crowd": 20, "second": 2, "third": 2}


def main() -> None:
    with Taskpost() as taskpost:
        tasks = [
            taskpost.submit("demo.add", {"a": number, "b": 0}, flow={"key": KEY, "concurrency": 2}, group=tenant)
            for tenant, many in TENANTS.items()
            for number in range(many)
        ]
        done = [taskpost.wait(task, timeout_seconds=60) for task in tasks]
        flow = taskpost.flow(KEY)
        print(f"{len(done)} tasks done, never more than {flow.concurrency} of them at a time")
        print(f"{flow.running} run and {flow.waiting} wait now")


if __name__ == "__main__":
    main()
