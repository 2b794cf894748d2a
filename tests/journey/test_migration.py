"""
The page for those who come from Celery: each row of its table is held by tests, which stand here by name.

Most of them live beside the part they try; what none of them tries is tried at the end of this file.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.client import TaskFailed
from service.errors import InvalidHandler
from workers import Context, Defer, Registry
from workers.eager import eager
from workers.testing import recorded

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "migrating-from-celery.md"
ROW = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
HERE = "journey/test_migration.py::"
POOL = "workers/test_process_pool.py::"
CHILDREN = "faults/test_children.py::"
CONTROL = "faults/test_control.py::"
CHECKPOINTS = "faults/test_checkpoints.py::"
RUN = "unit/test_decisions.py::"
AROUND = "workers/test_around.py::"
EAGER = "workers/test_eager.py::"
CALLING = "workers/test_calling.py::"

TESTS: dict[str, list[str]] = {
    "`acks_late`, `reject_on_worker_lost`, `visibility_timeout`": [
        "faults/test_killed.py::test_tasks_of_a_killed_worker_run_again",
        "faults/test_killed.py::test_with_the_default_lease_tasks_of_a_killed_worker_come_back",
        "faults/test_limits.py::test_a_handler_that_blocks_its_loop_keeps_its_lease",
    ],
    "`acks_late=False`": [CHILDREN + "test_work_that_must_not_repeat_is_not_run_again_after_a_crash"],
    "prefork pool, `-c`": [
        POOL + "test_a_def_runs_in_a_process_of_its_own",
        POOL + "test_calls_run_beside_each_other_up_to_the_size",
    ],
    "`-P threads`": [
        "workers/test_thread_pool.py::test_a_result_comes_from_another_thread",
        "workers/test_thread_pool.py::test_no_more_than_its_size_run_at_once",
    ],
    "`-P gevent`, `-P eventlet`": [
        "workers/test_loop_pool.py::test_a_result_is_kept_as_json",
        "faults/test_wakes.py::test_a_full_lane_keeps_no_other_waiting",
    ],
    "`-Q`": [
        "faults/test_wakes.py::test_a_worker_of_chosen_queues_serves_no_other",
        "faults/test_wakes.py::test_queues_are_taken_by_their_weights",
        "faults/test_wakes.py::test_in_strict_order_the_first_queue_is_emptied_first",
    ],
    "`worker_prefetch_multiplier = 1`": [
        "faults/test_wakes.py::test_two_workers_share_the_work",
        "faults/test_stopped.py::test_sigterm_lets_short_tasks_finish_and_hands_long_ones_back",
        "store/test_lease.py::test_a_hand_back_spends_no_attempt_and_stays_in_front",
    ],
    "`task_soft_time_limit`": [
        POOL + "test_the_soft_limit_interrupts_a_sleep",
        "workers/test_loop_pool.py::test_the_soft_limit_passes_except_exception",
        "workers/test_thread_pool.py::test_the_soft_limit_is_told_by_the_next_progress",
        HERE + "test_limits_can_be_chosen_for_one_call",
    ],
    "`task_time_limit`": [
        POOL + "test_the_hard_limit_ends_the_process",
        POOL + "test_a_hang_in_c_with_signals_blocked_is_killed_after_the_grace",
        POOL + "test_fifty_processes_that_outlive_a_hard_limit_are_killed",
        "faults/test_limits.py::test_a_thread_beyond_its_limit_fails_and_keeps_only_its_thread",
    ],
    "`worker_max_tasks_per_child`, `worker_max_memory_per_child`": [
        POOL + "test_an_executor_is_replaced_after_its_tasks_and_the_next_is_ready_before",
        POOL + "test_an_executor_with_too_much_memory_is_replaced",
    ],
    "`WorkerLostError`": [
        POOL + "test_a_child_that_dies_costs_its_task_only",
        CHILDREN + "test_a_crash_counts_in_crashes_and_fails_the_task_as_worker_lost",
        CHILDREN + "test_two_poison_tasks_among_a_hundred_are_the_only_ones_that_fail",
    ],
    "`autoretry_for`, `dont_autoretry_for`": [
        "workers/test_registry.py::test_which_errors_are_retried",
        "workers/test_loop_pool.py::test_a_passed_limit_is_a_timeout_for_retry_on",
    ],
    "`retry_backoff`, `retry_jitter`, `max_retries`": [
        "unit/test_retry.py::test_the_default_is_full_jitter_up_to_an_hour",
        RUN + "test_no_retry_comes_later_than_the_whole_time_allows",
        "faults/test_life.py::test_a_task_fails_when_its_retries_are_used_up",
    ],
    "`self.retry`": [
        RUN + "test_a_handler_chooses_its_own_delay",
        RUN + "test_a_failure_for_good_ends_the_task_whatever_is_left",
        "faults/test_life.py::test_deferring_spends_no_attempt",
    ],
    "`on_failure`, `on_success`, `on_retry`": [
        AROUND + "test_hooks_hear_how_the_attempt_ended",
        AROUND + "test_a_hook_that_raises_changes_nothing",
    ],
    "`base=`, `Task` classes": [
        AROUND + "test_a_policy_gives_its_options_and_hooks_to_many_tasks",
        AROUND + "test_a_test_replaces_what_a_handler_depends_on",
    ],
    "signals `task_prerun`, `task_postrun`": [
        AROUND + "test_middleware_stands_in_order_around_every_handler",
        AROUND + "test_middleware_may_replace_the_outcome",
    ],
    "signals `worker_process_init`, `worker_process_shutdown`": [
        CALLING + "test_a_resource_is_opened_in_the_process_that_runs_the_handler"
    ],
    "`bind=True`": ["workers/test_arguments.py::test_the_context_is_found_under_any_name_and_spelling"],
    '`update_state(state="PROGRESS")`': [
        POOL + "test_progress_is_heard_in_order_and_the_context_is_whole",
        "faults/test_life.py::test_progress_is_seen_while_it_runs_and_kept_with_the_outcome",
    ],
    "`self.request.redelivered`, and a note of your own of how far it came": [
        CHECKPOINTS + "test_an_import_whose_host_is_killed_at_each_step_repeats_only_what_was_in_flight",
        CHECKPOINTS + "test_an_import_goes_on_through_a_rolling_stop_at_each_step",
        CHECKPOINTS + "test_a_late_worker_cannot_overwrite_a_checkpoint_and_learns_that_its_lease_is_lost",
        CHECKPOINTS + "test_a_checkpoint_survives_every_way_to_come_back",
        "workers/test_checkpoints.py::test_an_eager_task_goes_on_from_its_checkpoint",
    ],
    "`AbortableTask`, `revoke(terminate=True)`": [
        "faults/test_cancel.py::test_a_running_coroutine_is_cancelled_at_once",
        "faults/test_cancel.py::test_a_thread_that_looks_is_cancelled",
        CHILDREN + "test_a_running_def_is_cancelled",
        POOL + "test_a_handler_that_refuses_to_be_cancelled_is_killed_after_the_grace",
    ],
    "`revoke` of a waiting task": ["faults/test_cancel.py::test_a_task_that_waits_for_its_retry_is_cancelled_at_once"],
    "`task_always_eager`": [
        EAGER + "test_retries_take_no_time_and_hooks_and_middleware_are_called",
        EAGER + "test_wrong_arguments_are_refused_as_always",
        EAGER + "test_the_environment_can_ask_for_it",
    ],
    "`celery.contrib.pytest`": ["workers/test_plugin.py::test_the_fixtures_work_in_a_project_of_its_own"],
    "`task_routes`, `task_queues`": [
        HERE + "test_a_queue_is_declared_with_the_handler_and_chosen_for_one_call",
        "api/test_routes.py::test_a_route_goes_before_the_queue_of_the_handler",
    ],
    "`task_create_missing_queues = False`": [
        "api/test_routes.py::test_queues_must_be_declared_where_that_is_asked_for",
        "faults/test_wakes.py::test_a_new_queue_is_served_at_once",
    ],
    "`setup_logging`, `-l`": [
        "unit/test_logs.py::test_json_is_one_object_a_line_with_the_task_in_fields_of_its_own",
        "unit/test_logs.py::test_a_configuration_that_was_there_first_stays",
        "workers/test_context.py::test_log_lines_carry_the_task",
        "faults/test_logs.py::test_lines_are_kept_in_every_lane",
        "faults/test_logs.py::test_lines_are_seen_while_the_attempt_runs_and_survive_a_kill",
    ],
    "`inspect active`, `inspect stats`": [
        "faults/test_life.py::test_what_a_worker_is_can_be_read",
        "store/test_pages.py::test_running_tasks_stand_newest_first",
        CONTROL + "test_a_blocked_process_is_shown_and_obeys_when_it_turns",
        CONTROL + "test_child_processes_are_shown_with_their_memory_and_tasks",
    ],
    "`control pool_grow`, `pool_shrink`, `autoscale`": [
        CONTROL + "test_a_lane_is_resized_under_load_and_nothing_is_lost",
        CONTROL + "test_processes_come_and_go_under_load_and_nothing_is_lost",
    ],
    "`control shutdown`, `cancel_consumer` of all queues": [
        CONTROL + "test_a_worker_that_is_told_to_stop_drains_and_hands_back",
        CONTROL + "test_a_quiet_worker_finishes_what_it_runs_and_leaves_the_queue",
        CONTROL + "test_a_worker_that_is_started_anew_does_nothing_of_what_it_was_told_before",
    ],
    "`task_serializer`, `accept_content`, pickle": [
        "workers/test_arguments.py::test_every_supported_type_arrives_as_python_means_it",
        "workers/test_models.py::test_a_model_goes_there_and_comes_back",
        "workers/test_loop_pool.py::test_a_result_that_is_no_json_fails_for_good",
    ],
    "`--autoreload`, which Celery dropped": [
        "faults/test_reload.py::test_new_attempts_run_the_new_code_and_running_ones_finish",
        "faults/test_reload.py::test_code_that_cannot_be_loaded_changes_nothing",
        "journey/test_up.py::test_with_reload_a_saved_change_counts_for_the_next_task",
    ],
    "`delay`, `apply_async`": [
        CALLING + "test_options_are_the_contracts",
        CALLING + "test_an_editor_is_told_the_handlers_own_signature",
        CALLING + "test_wrong_arguments_are_refused_before_anything_is_sent",
    ],
    "`send_task`, `NotRegistered`": [
        "api/test_client.py::test_a_submission_is_sent_in_the_contracts_words",
        "api/test_bad_requests.py::test_unknown_handler_is_named_with_the_nearest",
        "api/test_bad_requests.py::test_unknown_handlers_are_taken_when_told_so",
    ],
    "`countdown`, `eta`": [
        "faults/test_wakes.py::test_delayed_tasks_start_on_time_on_an_idle_system",
        CALLING + "test_options_are_the_contracts",
    ],
    "`AsyncResult`": [
        CALLING + "test_a_handle_follows_its_task",
        CALLING + "test_a_handle_cancels_and_tells_why_there_is_no_result",
    ],
    "`beat_schedule`, `add_periodic_task`": [
        "api/test_client_schedules.py::test_a_schedule_from_creation_to_deletion",
        "store/test_firing.py::test_schedulers_at_once_fire_each_occurrence_once",
        "store/test_declarations.py::test_a_deploy_removes_what_it_does_not_declare",
    ],
    "`crontab()`": [
        "recurrence/test_cron.py::test_an_expression_means_what_cron_means",
        "recurrence/test_cron.py::test_a_hash_is_always_the_same_for_a_name_and_spreads_names",
        "recurrence/test_clock_changes.py::test_a_daily_time_that_is_skipped_fires_once_right_after_the_gap",
        "recurrence/test_clock_changes.py::test_a_daily_time_that_comes_twice_fires_once",
    ],
    "`schedule=timedelta(…)`": [
        "recurrence/test_timing.py::test_an_interval_does_not_drift",
        "recurrence/test_timing.py::test_an_interval_starts_at_its_anchor",
    ],
    "django-celery-beat": [
        "api/test_client_schedules.py::test_a_schedule_from_creation_to_deletion",
        "api/test_client_schedules.py::test_an_edit_is_guarded_by_the_version_it_was_made_from",
    ],
    "what beat does after an outage": ["store/test_firing.py::test_what_is_too_late_goes_by_the_policy"],
    "a lock against overlapping runs": ["store/test_firing.py::test_overlap_goes_by_the_policy"],
    "`ignore_result`": [CALLING + "test_a_result_that_is_not_kept_is_gone"],
    "`result_expires`": [
        "store/test_forget.py::test_old_tasks_leave_the_lists",
        "store/test_forget.py::test_a_longer_life_of_its_own_keeps_a_task_listed",
    ],
    "`group` in a task": [
        CALLING + "test_a_part_carries_the_id_of_its_whole",
        EAGER + "test_parts_run_inside_their_whole",
    ],
    "`link`, `link_error`": ["faults/test_life.py::test_a_callback_is_made_with_the_end"],
}


def rows() -> list[str]:
    """The first cells of the table."""
    cells = [row[1] for row in ROW.finditer(PAGE.read_text())]
    return [cell for cell in cells if cell != "Celery"]


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / path).read_text())
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def test_every_row_of_the_page_is_held_by_tests() -> None:
    """No promise of the page is only words; no test stands for a row that is gone."""
    assert sorted(TESTS) == sorted(rows())
    assert [] == [row for row, tests in TESTS.items() if not tests]


@pytest.mark.parametrize("row", TESTS)
def test_the_tests_of_a_row_are_there(row: str) -> None:
    """A test that is renamed or dropped is missed here."""
    named = [test.split("::") for test in TESTS[row]]
    assert [] == [(path, name) for path, name in named if name not in names_in(path)]


# ---------------------------------------------------------------- what no other test tries

registry = Registry()


@registry.task("shop.export", queue="exports", soft_timeout=5, timeout=10)
async def export(ctx: Context, day: str) -> str:
    await ctx.progress(1, 1, day)
    return f"{day} of {ctx.queue}"


@registry.task("shop.patient", retries=0)
async def patient(ctx: Context) -> Any:
    raise Defer("not yet", after=86_400 * 30)


def test_limits_can_be_chosen_for_one_call() -> None:
    """What is said at the call wins over what the handler declares; the contract's units go out."""
    with recorded() as submitted:
        export.options(soft_timeout=1, timeout=2).submit_sync("2026-11-22")
    assert {"soft_timeout_seconds": 1, "timeout_seconds": 2} == submitted[0].options


def test_a_queue_is_declared_with_the_handler_and_chosen_for_one_call() -> None:
    """The handler's own queue unless the call names another."""
    with eager():
        assert "a of exports" == export.submit_sync("a").get()
        assert "a of slow" == export.options(queue="slow").submit_sync("a").get()


def test_a_task_that_always_defers_ends_by_its_whole_time() -> None:
    """There is no endless retry: the whole time bounds deferrals, too."""
    with eager(), pytest.raises(TaskFailed, match="not yet"):
        patient.submit_sync().get()


@pytest.mark.parametrize(
    ("celery", "here"),
    [
        ({"max_retries": 3}, "say retries"),
        ({"bind": True}, "annotate a parameter with Context"),
        ({"autoretry_for": (OSError,)}, "say retry_on"),
        ({"countdown": 5}, "say it at submit"),
    ],
)
def test_what_celery_calls_otherwise_is_pointed_at(celery: dict[str, Any], here: str) -> None:
    """An option by its old name is refused where it is declared, with the new one."""
    with pytest.raises(InvalidHandler, match=here):
        registry.task("shop.old", **celery)(lambda: None)


@pytest.mark.parametrize(
    ("celery", "here"), [("countdown", "say delay"), ("eta", "say run_at"), ("link", "say callback")]
)
def test_options_of_a_call_by_their_old_names_are_pointed_at(celery: str, here: str) -> None:
    """What `apply_async` took is refused with the name that it has here."""
    with pytest.raises(TypeError, match=here):
        export.options(**{celery: 1})  # type: ignore[misc]
