// The whole journey by the TypeScript client of openapi-generator.
import { Configuration, HandlersApi, ResponseError, SchedulesApi, TasksApi } from './typescript/index.js'

const configuration = new Configuration({ basePath: process.argv[2] })
const tasks = new TasksApi(configuration)
const schedules = new SchedulesApi(configuration)

function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what))
}

const prefer = 'wait=20'
const done = await tasks.submitTask({ prefer, submission: { name: 'demo.add', args: { a: 2, b: 3 } } })
check(done.state === 'succeeded' && done.result === 5, done)

const later = await tasks.submitTask({ submission: { name: 'demo.add', args: { a: 2, b: 3 }, delaySeconds: 600, tags: ['generated'] } })
check((await tasks.getTask({ id: later.id })).state === 'scheduled', later)
check((await tasks.listTasks({ tag: 'generated' })).items[0].id === later.id, later)
check((await tasks.cancelTask({ id: later.id })).state === 'cancelled', later)

const name = 'generated'
const scheduleDefinition = { cron: '0 3 * * *', task: { name: 'demo.add', args: { a: 1, b: 1 } } }
check((await schedules.putSchedule({ name, scheduleDefinition })).nextRunAt instanceof Date, name)
const fired = await schedules.runSchedule({ name })
check((await tasks.getTask({ id: fired.id, wait: 20 })).result === 2, fired)
await schedules.deleteSchedule({ name })

const failed = await tasks.submitTask({ prefer, submission: { name: 'demo.flaky', args: { fail_times: 1 }, retries: 0 } })
check(failed.state === 'failed' && failed.error?.type === 'RuntimeError', failed)
const again = await tasks.replayTask({ id: failed.id, replayEdits: { args: { fail_times: 0 } } })
check(again.replayOf === failed.id, again)

const refused = await tasks.submitTask({ submission: { name: 'demo.add', args: { a: 'x' } } }).catch((error: unknown) => error)
check(refused instanceof ResponseError && refused.response.status === 422, refused)

const sent = await new HandlersApi(configuration).emailSend({ prefer, emailSendArgs: { to: 'ada@example.com', copies: 2 } })
check(sent.result?.messageId === 'hello-ada@example.com' && sent.result.recipients.length === 2, sent)
console.log('done')
