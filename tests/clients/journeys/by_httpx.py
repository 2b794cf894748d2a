"""The whole journey by the Python client of openapi-python-client."""

import sys

from taskpost_client import Client
from taskpost_client.api.handlers import email_send
from taskpost_client.api.schedules import delete_schedule, put_schedule, run_schedule
from taskpost_client.api.tasks import cancel_task, get_task, list_tasks, replay_task, submit_task
from taskpost_client.models import (
    EmailSendArgs,
    Problem,
    ReplayEdits,
    ReplayEditsArgs,
    ScheduleDefinition,
    ScheduledTask,
    Submission,
    SubmissionArgs,
)

client = Client(base_url=sys.argv[1], timeout=60, raise_on_unexpected_status=True)


def submission(name: str, args: dict, **options) -> Submission:
    return Submission(name=name, args=SubmissionArgs.from_dict(args), **options)


done = submit_task.sync(client=client, body=submission("demo.add", {"a": 2, "b": 3}), prefer="wait=20")
assert (done.state, done.result) == ("succeeded", 5), done

body = submission("demo.add", {"a": 2, "b": 3}, delay_seconds=600, tags=["httpx"])
later = submit_task.sync(client=client, body=body)
assert get_task.sync(later.id, client=client).state == "scheduled"
assert [one.id for one in list_tasks.sync(client=client, tag="httpx").items] == [later.id]
assert cancel_task.sync(later.id, client=client).state == "cancelled"

task = ScheduledTask.from_dict({"name": "demo.add", "args": {"a": 1, "b": 1}})
saved = put_schedule.sync("httpx", client=client, body=ScheduleDefinition(cron="0 3 * * *", task=task))
assert saved.next_run_at is not None
fired = run_schedule.sync("httpx", client=client)
assert get_task.sync(fired.id, client=client, wait=20).result == 2
assert delete_schedule.sync_detailed("httpx", client=client).status_code == 204

failing = submission("demo.flaky", {"fail_times": 1}, retries=0)
failed = submit_task.sync(client=client, body=failing, prefer="wait=20")
assert (failed.state, failed.error.type_) == ("failed", "RuntimeError"), failed
edits = ReplayEdits(args=ReplayEditsArgs.from_dict({"fail_times": 0}))
again = replay_task.sync(failed.id, client=client, body=edits)
assert (again.replay_of, get_task.sync(again.id, client=client, wait=20).state) == (failed.id, "succeeded")

problem = submit_task.sync(client=client, body=submission("demo.add", {"a": "x"}))
assert isinstance(problem, Problem), problem
assert problem.type_ == "/problems/invalid-arguments", problem

sent = email_send.sync(client=client, body=EmailSendArgs(to="ada@example.com", copies=2), prefer="wait=20")
assert (sent.result.message_id, len(sent.result.recipients)) == ("hello-ada@example.com", 2)
print("done")
