// The whole journey by the client of @hey-api/openapi-ts.
import { client } from './hey-api/client.gen.js'
import { cancelTask, deleteSchedule, emailSend, getTask, listTasks, putSchedule, replayTask, runSchedule, submitTask } from './hey-api/sdk.gen.js'

client.setConfig({ baseUrl: process.argv[2] })

function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what))
}

const headers = { Prefer: 'wait=20' }
const throwOnError = true
const { data: done } = await submitTask({ headers, body: { name: 'demo.add', args: { a: 2, b: 3 } }, throwOnError })
check(done.state === 'succeeded' && done.result === 5, done)

const { data: later } = await submitTask({ body: { name: 'demo.add', args: { a: 2, b: 3 }, delay_seconds: 600, tags: ['hey'] }, throwOnError })
const path = { id: later.id }
check((await getTask({ path, throwOnError })).data.state === 'scheduled', later)
check((await listTasks({ query: { tag: 'hey' }, throwOnError })).data.items[0].id === later.id, later)
check((await cancelTask({ path, throwOnError })).data.state === 'cancelled', later)

const name = { name: 'hey' }
const { data: saved } = await putSchedule({ path: name, body: { cron: '0 3 * * *', task: { name: 'demo.add', args: { a: 1, b: 1 } } }, throwOnError })
check(saved.next_run_at !== null, saved)
const { data: fired } = await runSchedule({ path: name, throwOnError })
check((await getTask({ path: { id: fired.id }, query: { wait: 20 }, throwOnError })).data.result === 2, fired)
await deleteSchedule({ path: name, throwOnError })

const { data: failed } = await submitTask({ headers, body: { name: 'demo.flaky', args: { fail_times: 1 }, retries: 0 }, throwOnError })
check(failed.state === 'failed' && failed.error?.type === 'RuntimeError', failed)
const { data: again } = await replayTask({ path: { id: failed.id }, body: { args: { fail_times: 0 } }, throwOnError })
check(again.replay_of === failed.id, again)

const refused = await submitTask({ body: { name: 'demo.add', args: { a: 'x' } } })
check(refused.error?.type === '/problems/invalid-arguments', refused.error)

const { data: sent } = await emailSend({ headers, body: { to: 'ada@example.com', copies: 2 }, throwOnError })
const id: string | undefined = sent.result?.message_id
check(id === 'hello-ada@example.com' && sent.result?.recipients.length === 2, sent)
// @ts-expect-error: the compiler refuses what the handler would not take
void (() => emailSend({ body: { whom: 'ada@example.com' } }))
console.log('done')
