"""The whole journey by the Python client of openapi-generator."""

import sys

import taskpost_client as t

api = t.ApiClient(t.Configuration(host=sys.argv[1]))
tasks, schedules, handlers = t.TasksApi(api), t.SchedulesApi(api), t.HandlersApi(api)

done = tasks.submit_task(t.Submission(name="demo.add", args={"a": 2, "b": 3}), prefer="wait=20")
assert (done.state, done.result) == ("succeeded", 5), done
assert tasks.get_task_result(done.id) == 5

later = tasks.submit_task(t.Submission(name="demo.add", args={"a": 2, "b": 3}, delay_seconds=600, tags=["py"]))
assert tasks.get_task(later.id).state == "scheduled"
assert [one.id for one in tasks.list_tasks(state="scheduled", tag="py").items] == [later.id]
assert tasks.cancel_task(later.id).state == "cancelled"

definition = t.ScheduleDefinition(cron="0 3 * * *", task={"name": "demo.add", "args": {"a": 1, "b": 1}})
saved = schedules.put_schedule("py", definition)
assert (saved.next_run_at is not None, saved.last_run) == (True, None)
fired = schedules.run_schedule("py")
assert tasks.get_task(fired.id, wait=20).result == 2
schedules.delete_schedule("py")

failing = t.Submission(name="demo.flaky", args={"fail_times": 1}, retries=0)
failed = tasks.submit_task(failing, prefer="wait=20")
assert (failed.state, failed.error.type) == ("failed", "RuntimeError")
again = tasks.replay_task(failed.id, replay_edits=t.ReplayEdits(args={"fail_times": 0}))
assert (again.replay_of, tasks.get_task(again.id, wait=20).state) == (failed.id, "succeeded")

try:
    tasks.submit_task(t.Submission(name="demo.add", args={"a": "x"}))
    raise AssertionError("wrong arguments were taken")
except t.ApiException as exc:
    problem = t.Problem.from_json(exc.body)
    assert (exc.status, problem.type) == (422, "/problems/invalid-arguments"), problem
    assert {fault.pointer for fault in problem.errors} == {"/args", "/args/a"}

sent = handlers.email_send(t.EmailSendArgs(to="ada@example.com", copies=2), prefer="wait=20")
assert (sent.result.message_id, len(sent.result.recipients)) == ("hello-ada@example.com", 2)
print("done")
