<?php
// The whole journey by the PHP client of openapi-generator, on Guzzle.
require 'GuzzleHttp/autoload.php';
spl_autoload_register(function (string $class): void {
    if (str_starts_with($class, 'Taskpost\\')) {
        require __DIR__ . '/php/lib/' . strtr(substr($class, 9), '\\', '/') . '.php';
    }
});

use Taskpost\Model\{EmailSendArgs, ReplayEdits, ScheduleDefinition, Submission};

$configuration = (new Taskpost\Configuration())->setHost($argv[1]);
$client = new GuzzleHttp\Client();
$tasks = new Taskpost\Api\TasksApi($client, $configuration);
$schedules = new Taskpost\Api\SchedulesApi($client, $configuration);
$handlers = new Taskpost\Api\HandlersApi($client, $configuration);

function check(bool $holds, mixed $what): void
{
    if (!$holds) {
        throw new Exception((string) json_encode($what));
    }
}

$done = $tasks->submitTask(new Submission(['name' => 'demo.add', 'args' => ['a' => 2, 'b' => 3]]), prefer: 'wait=20');
check($done->getState() === 'succeeded' && $done->getResult() === 5, $done);

$later = $tasks->submitTask(new Submission(['name' => 'demo.add', 'args' => ['a' => 2, 'b' => 3], 'delay_seconds' => 600.0, 'tags' => ['php']]));
check($tasks->getTask($later->getId())->getState() === 'scheduled', $later);
check($tasks->listTasks(tag: 'php')->getItems()[0]->getId() === $later->getId(), $later);
check($tasks->cancelTask($later->getId())->getState() === 'cancelled', $later);

$task = ['name' => 'demo.add', 'args' => ['a' => 1, 'b' => 1]];
$saved = $schedules->putSchedule('php', new ScheduleDefinition(['cron' => '0 3 * * *', 'task' => $task]));
check($saved->getNextRunAt() instanceof DateTime, $saved);
$fired = $schedules->runSchedule('php');
check($tasks->getTask($fired->getId(), 20)->getResult() === 2, $fired);
$schedules->deleteSchedule('php');

$failed = $tasks->submitTask(new Submission(['name' => 'demo.flaky', 'args' => ['fail_times' => 1], 'retries' => 0]), prefer: 'wait=20');
check($failed->getState() === 'failed' && $failed->getError()->getType() === 'RuntimeError', $failed);
$again = $tasks->replayTask($failed->getId(), replay_edits: new ReplayEdits(['args' => ['fail_times' => 0]]));
check($again->getReplayOf() === $failed->getId(), $again);

try {
    $tasks->submitTask(new Submission(['name' => 'demo.add', 'args' => ['a' => 'x']]));
    check(false, 'wrong arguments were taken');
} catch (Taskpost\ApiException $exception) {
    check($exception->getCode() === 422, $exception->getMessage());
    check($exception->getResponseObject()->getType() === '/problems/invalid-arguments', $exception->getMessage());
}

$sent = $handlers->emailSend(new EmailSendArgs(['to' => 'ada@example.com', 'copies' => 2]), prefer: 'wait=20');
check($sent->getResult()->getMessageId() === 'hello-ada@example.com' && count($sent->getResult()->getRecipients()) === 2, $sent);
echo "done\n";
