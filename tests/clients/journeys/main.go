// The whole journey by the Go client of openapi-generator.
package main

import (
	"context"
	"fmt"
	"os"

	taskpost "github.com/taskpost/client"
)

func check(holds bool, what any) {
	if !holds {
		panic(fmt.Sprintf("%+v", what))
	}
}

func must[T any](value T, _ any, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func pointer[T any](value T) *T { return &value }

func main() {
	configuration := taskpost.NewConfiguration()
	configuration.Servers = taskpost.ServerConfigurations{{URL: os.Args[1]}}
	api := taskpost.NewAPIClient(configuration)
	ctx := context.Background()
	args := map[string]any{"a": 2, "b": 3}

	add := taskpost.Submission{Name: pointer("demo.add"), Args: args}
	done := must(api.TasksAPI.SubmitTask(ctx).Submission(add).Prefer("wait=20").Execute())
	check(done.State == "succeeded" && done.Result == 5.0, done)

	add.DelaySeconds, add.Tags = pointer(600.0), []string{"go"}
	later := must(api.TasksAPI.SubmitTask(ctx).Submission(add).Execute())
	check(must(api.TasksAPI.GetTask(ctx, later.Id).Execute()).State == "scheduled", later)
	check(must(api.TasksAPI.ListTasks(ctx).Tag("go").Execute()).Items[0].Id == later.Id, later)
	check(must(api.TasksAPI.CancelTask(ctx, later.Id).Execute()).State == "cancelled", later)

	task := map[string]any{"name": "demo.add", "args": map[string]any{"a": 1, "b": 1}}
	definition := taskpost.ScheduleDefinition{Cron: pointer("0 3 * * *"), Task: task}
	saved := must(api.SchedulesAPI.PutSchedule(ctx, "go").ScheduleDefinition(definition).Execute())
	check(saved.NextRunAt.IsSet() && saved.LastRun == nil, saved)
	fired := must(api.SchedulesAPI.RunSchedule(ctx, "go").Execute())
	check(must(api.TasksAPI.GetTask(ctx, fired.Id).Wait(20).Execute()).Result == 2.0, fired)
	if _, err := api.SchedulesAPI.DeleteSchedule(ctx, "go").Execute(); err != nil {
		panic(err)
	}

	failing := taskpost.Submission{Name: pointer("demo.flaky"), Args: map[string]any{"fail_times": 1}, Retries: pointer(int32(0))}
	failed := must(api.TasksAPI.SubmitTask(ctx).Submission(failing).Prefer("wait=20").Execute())
	check(failed.State == "failed" && failed.Error.Type == "RuntimeError", failed)
	edits := taskpost.ReplayEdits{Args: map[string]any{"fail_times": 0}}
	again := must(api.TasksAPI.ReplayTask(ctx, failed.Id).ReplayEdits(edits).Execute())
	check(*again.ReplayOf == failed.Id, again)

	wrong := taskpost.Submission{Name: pointer("demo.add"), Args: map[string]any{"a": "x"}}
	_, answer, err := api.TasksAPI.SubmitTask(ctx).Submission(wrong).Execute()
	check(err != nil && answer.StatusCode == 422, err)
	problem := err.(*taskpost.GenericOpenAPIError).Model().(taskpost.Problem)
	check(problem.Type == "/problems/invalid-arguments" && len(problem.Errors) == 2, problem)

	letter := taskpost.EmailSendArgs{To: "ada@example.com", Copies: pointer(int64(2))}
	sent := must(api.HandlersAPI.EmailSend(ctx).EmailSendArgs(letter).Prefer("wait=20").Execute())
	check(sent.Result.MessageId == "hello-ada@example.com" && len(sent.Result.Recipients) == 2, sent)
	fmt.Println("done")
}
