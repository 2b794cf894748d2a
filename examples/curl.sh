#!/usr/bin/env bash
# The API with nothing but curl: submit, wait, read the result, list, cancel. Start `taskpost up` first.
set -eu
api=${TASKPOST_URL:-http://127.0.0.1:8080}

send() { curl -sS -H "Authorization: Bearer ${TASKPOST_API_KEY:-}" "$@"; }
call() { send -H 'Content-Type: application/json' "$@"; }
id_in() { grep -oE '"id": ?"[0-9A-Z]{26}"' | head -n 1 | grep -oE '[0-9A-Z]{26}'; }

echo "# a task for a Python handler, answered when it has ended (at the latest after 10 s)"
call -H 'Prefer: wait=10' "$api/v1/tasks" -d '{"name": "demo.add", "args": {"a": 2, "b": 3}}'; echo

echo "# submitted twice with one key: the same task"
for _ in 1 2; do
    call -H 'Idempotency-Key: example-curl-1' "$api/v1/tasks" -d '{"name": "demo.add", "args": {"a": 1, "b": 1}}' | id_in
done

echo "# wait for the result and nothing else"
id=$(call "$api/v1/tasks" -d '{"name": "demo.progress", "args": {"steps": 5}}' | id_in)
call "$api/v1/tasks/$id/result?wait=20"; echo

echo "# a call of a URL in an hour, cancelled again"
id=$(call "$api/v1/tasks" -d '{"url": "https://example.com/hook", "body": {"n": 1}, "delay_seconds": 3600}' | id_in)
call -X POST "$api/v1/tasks/$id/cancel" | grep -o '"state": *"[a-z]*"'

echo "# lines in, receipts out"
printf '%s\n' '{"name": "demo.add", "args": {"a": 1, "b": 2}}' '{"name": "demo.add", "args": {"a": 1}}' |
    send -H 'Content-Type: application/x-ndjson' --data-binary @- "$api/v1/tasks/stream"

echo "# what waits, and how long"
call "$api/v1/queues"; echo
