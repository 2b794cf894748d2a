# The whole journey by the Ruby client of openapi-generator, on Typhoeus.
$LOAD_PATH.unshift("#{__dir__}/ruby/lib")
require 'uri'
require 'taskpost_client'

def check(holds, what)
  raise what.inspect unless holds
end

address = URI(ARGV[0])
Taskpost.configure do |config|
  config.scheme = address.scheme
  config.host = "#{address.host}:#{address.port}"
  config.server_index = nil
end
tasks, schedules = Taskpost::TasksApi.new, Taskpost::SchedulesApi.new

done = tasks.submit_task(Taskpost::Submission.new(name: 'demo.add', args: { a: 2, b: 3 }), prefer: 'wait=20')
check(done.state == 'succeeded' && done.result == 5, done)

later = tasks.submit_task(Taskpost::Submission.new(name: 'demo.add', args: { a: 2, b: 3 }, delay_seconds: 600, tags: ['ruby']))
check(tasks.get_task(later.id).state == 'scheduled', later)
check(tasks.list_tasks(tag: 'ruby').items.map(&:id) == [later.id], later)
check(tasks.cancel_task(later.id).state == 'cancelled', later)

task = { name: 'demo.add', args: { a: 1, b: 1 } }
saved = schedules.put_schedule('ruby', Taskpost::ScheduleDefinition.new(cron: '0 3 * * *', task: task))
check(saved.next_run_at.is_a?(Time), saved)
fired = schedules.run_schedule('ruby')
check(tasks.get_task(fired.id, wait: 20).result == 2, fired)
schedules.delete_schedule('ruby')

failed = tasks.submit_task(Taskpost::Submission.new(name: 'demo.flaky', args: { fail_times: 1 }, retries: 0), prefer: 'wait=20')
check(failed.state == 'failed' && failed.error.type == 'RuntimeError', failed)
again = tasks.replay_task(failed.id, replay_edits: Taskpost::ReplayEdits.new(args: { fail_times: 0 }))
check(again.replay_of == failed.id, again)

begin
  tasks.submit_task(Taskpost::Submission.new(name: 'demo.add', args: { a: 'x' }))
  check(false, 'wrong arguments were taken')
rescue Taskpost::ApiError => e
  check(e.code == 422 && JSON.parse(e.response_body)['type'] == '/problems/invalid-arguments', e)
end

letter = Taskpost::EmailSendArgs.new(to: 'ada@example.com', copies: 2)
sent = Taskpost::HandlersApi.new.email_send(letter, prefer: 'wait=20')
check(sent.result.message_id == 'hello-ada@example.com' && sent.result.recipients.size == 2, sent)
puts 'done'
