"""
Submit one task and wait for its result.

    taskpost up                           # in one terminal
    python examples/submit_and_wait.py    # in another

The API is found by TASKPOST_URL and TASKPOST_API_KEY; without them at http://127.0.0.1:8080.
"""

from service.client import Refused, Taskpost

with Taskpost() as taskpost:
    # The shortest way: submit and wait up to ten seconds for the end.
    task = taskpost.submit("demo.add", {"a": 2, "b": 3}, wait=10)
    print(f"{task.what}: {task.state}, result {task.result}")

    # Submit now, look later. The key makes it safe to run this program twice: it is the same task then.
    task = taskpost.submit("demo.flaky", {"fail_times": 2}, backoff=[0.2, 0.5], idempotency_key="example-flaky-1")
    task = taskpost.wait(task, timeout_seconds=30)
    print(f"{task.what}: {task.state} in attempt {task.attempt}, result {task.result!r}")
    for attempt in taskpost.attempts(task):
        print(f"  attempt {attempt.attempt}: {attempt.outcome}", f"({attempt.error.message})" if attempt.error else "")

    # What is wrong with a submission is told at once, every fault of it.
    try:
        taskpost.submit("demo.add", {"a": "two", "b": "three"})
    except Refused as refused:
        print(f"refused: {refused.title}")
        for fault in refused.errors:
            print(f"  {fault['pointer']}: {fault['detail']}")
