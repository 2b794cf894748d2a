// The whole journey by openapi-fetch, with the types of openapi-typescript.
import createClient from 'openapi-fetch'
import type { paths } from './openapi-typescript/schema.js'

const api = createClient<paths>({ baseUrl: process.argv[2] })

function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(JSON.stringify(what))
}

function given<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error))
  return answer.data
}

const wait = { header: { Prefer: 'wait=20' } }
const done = given(await api.POST('/v1/tasks', { params: wait, body: { name: 'demo.add', args: { a: 2, b: 3 } } }))
check(done.state === 'succeeded' && done.result === 5, done)

const later = given(await api.POST('/v1/tasks', { body: { name: 'demo.add', args: { a: 2, b: 3 }, delay_seconds: 600, tags: ['fetch'] } }))
const path = { id: later.id }
check(given(await api.GET('/v1/tasks/{id}', { params: { path } })).state === 'scheduled', later)
const page = given(await api.GET('/v1/tasks', { params: { query: { tag: 'fetch' } } }))
check(page.items.length === 1 && page.items[0].id === later.id, page)
check(given(await api.POST('/v1/tasks/{id}/cancel', { params: { path } })).state === 'cancelled', later)

const name = { path: { name: 'fetch' } }
const task = { name: 'demo.add', args: { a: 1, b: 1 } }
const saved = given(await api.PUT('/v1/schedules/{name}', { params: name, body: { cron: '0 3 * * *', task } }))
check(saved.next_run_at !== null && saved.last_run === undefined, saved)
const fired = given(await api.POST('/v1/schedules/{name}/run', { params: name }))
const ran = given(await api.GET('/v1/tasks/{id}', { params: { path: { id: fired.id }, query: { wait: 20 } } }))
check(ran.result === 2, ran)
check((await api.DELETE('/v1/schedules/{name}', { params: name })).response.status === 204, name)

const failing = { name: 'demo.flaky', args: { fail_times: 1 }, retries: 0 }
const failed = given(await api.POST('/v1/tasks', { params: wait, body: failing }))
check(failed.state === 'failed' && failed.error?.type === 'RuntimeError', failed)
const again = given(await api.POST('/v1/tasks/{id}/replay', { params: { path: { id: failed.id } }, body: { args: { fail_times: 0 } } }))
check(again.replay_of === failed.id, again)

const refused = await api.POST('/v1/tasks', { body: { name: 'demo.add', args: { a: 'x' } } })
check(refused.response.status === 422 && refused.error?.type === '/problems/invalid-arguments', refused.error)

const sent = given(await api.POST('/v1/handlers/email:send/tasks', { params: wait, body: { to: 'ada@example.com', copies: 2 } }))
const id: string | undefined = sent.result?.message_id
check(id === 'hello-ada@example.com' && sent.result?.recipients.length === 2, sent)
// @ts-expect-error: the compiler refuses what the handler would not take
void (() => api.POST('/v1/handlers/email:send/tasks', { body: { whom: 'ada@example.com' } }))
console.log('done')
