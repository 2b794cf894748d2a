// BullMQ on one Node process, which was as fast as two: `node with_bullmq.mjs worker CONCURRENCY | submitter`.
//
// The submitter answers the same lines as programs/submitter.py; stamps are those of programs/stamps.py. Tasks of which a worker died
// come again when its lock has ended and a look for stalled ones has come by: 30 s each by default, which stay.
import { openSync, statSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';
import IORedis from 'ioredis';

const A_CALL = 100, AT_ONCE = 8, SLEEP_MS = 50, HELD_MS = 3_600_000, RUN_MS = 60_000;
const ARGS = { nothing: { a: 2, b: 3 } };
const stamps = process.env.PEER_STAMPS;
const file = openSync(stamps, 'a');
const connection = new IORedis(process.env.PEER_URL, { maxRetriesPerRequest: null });
const rest = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Date.now() has only milliseconds: the clock of the epoch, read once at the turn of one, and the steady one from there.
for (let start = Date.now(); Date.now() === start;);
const epochNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
const nowNs = () => epochNs + process.hrtime.bigint();

function note() {
  const stamp = Buffer.allocUnsafe(8);
  stamp.writeBigInt64LE(nowNs());
  writeSync(file, stamp);
}

const handlers = {
  async nothing({ a, b }) { note(); return a + b; },
  async sleep() { await rest(SLEEP_MS); note(); },
  async hold() { note(); await rest(HELD_MS); },
};

function work(concurrency) {
  const worker = new Worker('peer', (job) => handlers[job.name](job.data), { connection, concurrency });
  worker.on('error', (error) => console.error(error));
}

async function submitter() {
  const queue = new Queue('peer', { connection });
  await queue.waitUntilReady();
  const many = (name, count, args) =>
    queue.addBulk(Array.from({ length: count }, () => ({ name, data: args ?? ARGS[name] ?? {} })));
  console.log('ready');
  for await (const line of createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(queue, many, JSON.parse(line))));
  }
  process.exit(0);
}

async function answer(queue, many, asked) {
  if (asked.submit) {
    for (let left = asked.many; left > 0; left -= A_CALL) await many(asked.submit, Math.min(A_CALL, left), asked.args);
    return {};
  }
  if (asked.bulk_seconds) return bulk(many, asked.bulk_seconds);
  return { sent_ns: await exchanges(queue, asked.exchanges, asked.seconds) };
}

async function bulk(many, seconds) {
  const start = performance.now();
  let calls = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (performance.now() - start < seconds * 1000) {
      await many('nothing', A_CALL);
      calls += 1;
    }
  }));
  const tasks = calls * A_CALL;
  return { tasks, a_second: (tasks * 1000) / (performance.now() - start) };
}

async function exchanges(queue, most, seconds) {
  const sent = [], start = performance.now(), before = statSync(stamps).size / 8;
  while (sent.length < most && (performance.now() - start < seconds * 1000 || sent.length < 3)) {
    sent.push(Number(nowNs()));
    await queue.add('nothing', ARGS.nothing);
    for (const late = performance.now() + RUN_MS; statSync(stamps).size / 8 < before + sent.length;) {
      if (performance.now() > late) throw new Error(`a task did not run within ${RUN_MS} ms on an idle system`);
      await rest(1);
    }
    await rest(4 + 8 * Math.random());
  }
  return sent;
}

if (process.argv[2] === 'worker') work(Number(process.argv[3]));
else submitter();
