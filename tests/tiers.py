"""Which tests run when: the README's command runs the stories, CI what is slow too, and people what is long.

Of a matrix, CI runs a few cases of each kind; the others are long. CONTRIBUTING.md has the tiers and times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

# The tiers as pytest's ``-m`` has them.
DEFAULT: Final = "not slow and not long"
SLOW: Final = "slow and not long"


def only(*names: str) -> frozenset[str]:
    """Name tests, or cases of one."""
    return frozenset(names)


# What every run of pytest shows on the embedded stack: deploy and deliver, an outage, poison, redrive in
# order stopped halfway, replay, drift. All other integration tests are marked slow.
STORIES: Final[Mapping[str, frozenset[str]]] = {
    "integration/test_audit.py": only(
        "test_what_a_broken_enqueuer_lost_is_listed_replayed_and_then_proven_in_order"
    ),
    "integration/test_demo.py": only("test_it_ends_well_and_leaves_nothing_behind"),
    "integration/test_drift.py": only(
        "test_a_function_that_is_gone_is_made_again_with_all_that_hung_on_it[ministack]"
    ),
    "integration/test_incidents.py": only(
        "test_all_apis_are_down", "test_500_for_ever_for_one_group", "test_two_operators"
    ),
    "integration/test_moving.py": only("test_a_redrive_moves_everything_in_the_order_of_its_groups"),
    "integration/test_pipeline.py": only(
        "test_real_payloads_arrive_unchanged_and_in_order_within_their_group[local]",
        "test_an_outage_parks_nothing_reorders_nothing_and_loses_nothing",
        "test_a_poison_item_is_parked_with_status_and_reason_and_its_group_goes_on[lambda]",
    ),
    "integration/test_provisioning.py": only(
        "test_a_pipeline_is_deployed_put_right_and_destroyed[ministack]"
    ),
    "integration/test_restore_order.py": only(
        "test_parked_messages_are_back_in_their_places",
        "test_interrupted_it_says_how_to_finish_and_a_second_run_does[15-SendMessageBatch]",
        "test_interrupted_it_says_how_to_finish_and_a_second_run_does[2-DeleteMessageBatch]",
    ),
    "integration/test_replay.py": only(
        "test_records_become_the_messages_that_the_enqueuer_makes_of_them_in_order",
        "test_killed_while_it_reads_it_begins_again",
    ),
    "integration/test_status.py": only("test_a_healthy_pipeline_has_all_the_contract_asks_for"),
}
# Of these tests CI runs every n-th case, or the cases named (none: the test of another name that is said).
# The others are long.
SAMPLED: Final[Mapping[str, Mapping[str, int | frozenset[str]]]] = {
    # Each shell, and each text in one of them.
    "contract/test_completion_is_inert.py": {"test_tab_and_enter_run_nothing_of_a_foreign_folder": 4},
    "unit/operations/test_code_process.py": {
        "test_whatever_code_does_for_one_record_is_that_records_failure_alone": only(
            "exit",
            "loop",
            "kill the group",
            "stdout",
            "descriptor 1",
            "close all files",
            "segfault",
            "fork that stays",
            "environment",
            "exec something that goes on",
            "recursion",
            "thread that stays",
        ),
        "test_a_request_arrives_as_it_was_made": 3,
        "test_a_failure_of_requests_keeps_its_owner_and_its_reason": 3,
    },
    "unit/operations/test_user_requirements.py": {
        "test_wheels_are_chosen_for_the_functions_runtime_and_machine": 3,
        "test_settings_of_where_and_how_to_install_do_not_reach_pip": 3,
        "test_settings_of_indexes_stay_in_force": 3,
    },
    "integration/test_builds.py": {
        "test_with_leave_package_and_deploy_build_without_the_users_credentials": only("an sdist"),
        "test_without_leave_no_command_builds": only("a folder", "an editable folder", "an sdist"),
    },
    "integration/test_broken_code.py": {
        "test_only_what_runs_the_code_stops": only(
            "a syntax error",
            "a missing import",
            "an end of the process",
            "no folder",
            "bytes that are no text",
        ),
    },
    "integration/test_consistency.py": {"test_an_interrupt_ends_the_wait_for_the_last_run": 2},
    "integration/test_cron.py": {
        "test_in_the_c_locale_data_is_utf_8_and_text_is_never_mojibake": 3,
        "test_with_hardly_an_environment_and_no_home_to_write_it_works": 3,
        "test_a_full_disk_is_reported_and_not_a_crash": 2,
    },
    "integration/test_demo.py": {
        "test_interrupted_it_cleans_up": only("1. Start-2", "4. Put-1", "8. The API is back-15"),
    },
    "integration/test_deploy.py": {
        "test_a_dry_run_and_a_refused_question_change_nothing": only("ministack"),
        "test_a_key_of_ones_own_encrypts_the_queues_and_leaving_it_goes_back": only("ministack"),
        "test_after_a_failure_anywhere_the_next_run_completes_the_work": only(
            "ministack-1", "ministack-12", "ministack-24", "moto-12"
        ),
        "test_every_reason_to_refuse_is_reported_and_nothing_is_touched": only("ministack"),
        "test_shortening_retention_is_warned_of": only("ministack"),
        "test_where_no_concurrency_can_be_reserved_none_is_wanted": only("ministack"),
    },
    "integration/test_drift.py": {
        "test_an_alias_that_is_gone_is_made_again_with_the_permission_that_hung_on_it": only("ministack"),
        "test_what_others_hung_on_and_is_gone_is_made_again_with_them": only(
            "ministack-_delete_queues_and_functions", "ministack-_delete_table_and_role"
        ),
    },
    "integration/test_early_interrupt.py": {
        "test_a_signal_while_it_starts_ends_it_with_a_word": only("call-SIGTERM", "import-SIGINT"),
    },
    "integration/test_evidence.py": {
        "test_functions_that_fail_are_seen_though_the_numbers_are_well": only(
            "worker-texts1-2", "enqueuer-texts4-2", "enqueuer-texts5-0"
        ),
    },
    "integration/test_files.py": {
        "test_killed_at_any_request_a_second_run_completes_it": only(
            "dump-False-False", "load-True-False", "purge-True-False"
        ),
    },
    "integration/test_formats.py": {
        # A line that is too long is so at 80 columns first.
        "test_on_a_terminal_a_table_fits_and_json_is_never_wrapped": 2,
    },
    "integration/test_history.py": {
        "test_what_a_killed_command_moved_is_never_missing": only("redrive", "load", "park", "purge"),
    },
    "integration/test_interrupts_elsewhere.py": {
        "test_while_credentials_are_looked_for": only("process", "sso", "metadata"),
        "test_while_pip_runs": only("SIGINT"),
        "test_while_the_users_code_runs": 2,
    },
    "integration/test_moving.py": {
        "test_killed_at_any_request_records_become_messages_once_and_what_fails_stays_once": only(
            "no such type-True-False", "too long for main-False-False"
        ),
        "test_killed_at_any_request_a_second_run_completes_the_move": only(
            "redrive-False-False", "park-True-False"
        ),
        "test_what_is_not_asked_for_is_not_a_failure_and_what_may_be_hidden_is": 3,
        "test_a_record_whose_message_main_refuses_is_parked_again_with_that_reason": 3,
        "test_a_record_that_is_too_long_for_main_is_parked_again_and_a_second_run_changes_no_more": 2,
    },
    "integration/test_pipeline.py": {
        "test_a_value_that_cannot_be_a_header_parks_nothing_and_is_named": 3,
        "test_makes_the_message_and_the_request_in_both_functions": only("lambda"),
        "test_a_variable_that_cannot_be_used_parks_nothing_and_is_named": 3,
    },
    "integration/test_prove.py": {
        "test_after_a_signal_everything_is_removed_and_the_rest_is_not_run": only("SIGTERM"),
    },
    "integration/test_prove_sabotage.py": {
        "test_a_fault_makes_that_check_fail": only("plan and second deploy-0", "put to API-0"),
        "test_a_fault_before_a_deploy_or_at_the_end_makes_that_check_fail": only("policies-1", "deploy-0"),
    },
    "integration/test_provisioning.py": {
        "test_a_pipeline_whose_name_begins_like_anothers_does_not_see_it": only("ministack"),
        "test_rules_become_schedules_and_rules_again_and_nothing_stays_behind": 3,
        # CI: test_worker_trigger.py has the embedded stack's.
        "test_what_starts_the_worker_is_changed_there_and_back_and_nothing_stays_behind": only("moto"),
    },
    "integration/test_refusals.py": {
        "test_a_deploy_whose_connection_breaks_says_how_many_changes_were_made": only(
            "1-Drop", "12-DropAnswer", "24-DropAnswer", "70-Drop"
        ),
        "test_a_refused_call_is_reported_with_what_was_done_and_the_next_deploy_completes_the_work": 3,
    },
    "integration/test_queue_stories.py": {
        "test_a_function_killed_at_a_call_loses_reorders_and_parks_nothing": only(
            "hide-after", "delete-before", "park-after", "give back-before"
        ),
    },
    "integration/test_queue_trigger.py": {
        # The schedule's next tick may be a minute away.
        "test_what_starts_it_is_changed_while_messages_flow_and_none_is_lost_doubled_or_out_of_order": only(
            "True"
        ),
    },
    "integration/test_replay.py": {
        "test_killed_at_any_send_and_run_again_every_record_is_enqueued_once": only("before", "after"),
    },
    "integration/test_restore_order.py": {
        "test_a_random_line_is_in_stream_order_afterwards": 3,
        # Before a request all is as it was after the one before it.
        "test_killed_at_any_request_a_second_run_finishes_it": only("True-False"),
    },
    "integration/test_scheduler_use.py": {
        # CI: test_a_schedule_left_over_from_a_former_deploy_is_seen_paused_and_deleted[switched_and_killed]
        "test_a_switch_to_rules_killed_at_every_change_leaves_no_schedule_that_nobody_sees": only(),
    },
    "integration/test_sign_in.py": {
        "test_a_credential_process_of_no_use_is_named_with_the_reason": 3,
        "test_a_kept_file_that_is_damaged_is_replaced": 3,
        "test_a_role_is_assumed_once_and_kept_where_the_aws_cli_keeps_it": 2,
        "test_a_sign_in_that_is_over_says_how_to_sign_in_again": 3,
    },
    "integration/test_worker_trigger.py": {
        "test_a_rule_of_somebody_elses_that_starts_the_worker_is_named_by_all_that_rely_on_a_pause": only(
            "trigger0-1", "trigger1-9"
        ),
        "test_a_trigger_that_is_not_deployed_yet_is_drift_and_what_runs_is_shown": only(
            "deployed0-edited0-True", "deployed1-edited1-False"
        ),
        "test_a_change_killed_at_every_call_is_completed_and_never_are_both_enabled": only(
            "first0-then0-False-False", "first1-then1-False-False"
        ),
        "test_the_trigger_is_changed_there_and_back_and_what_is_paused_stays_so": only(
            "first0-True", "first1-False"
        ),
    },
    "integration/test_user_code.py": {
        "test_one_of_ten_is_parked_by_drain_and_the_others_are_delivered": only(
            "exits-4", "sleeps-1", "takes memory-1"
        ),
        "test_code_that_stops_all_of_python_is_parked_by_one_drain_and_the_others_are_delivered": only(
            "ctypes"
        ),
        "test_an_interrupt_ends_code_that_never_returns_long_before_its_limit_and_releases_its_message": only(
            "loops", "never returns from C", "never is imported"
        ),
        "test_one_record_of_ten_is_parked_by_the_enqueuer_and_the_others_are_sent": 2,
        "test_one_of_ten_is_parked_by_the_function_and_the_others_are_delivered": only(
            "sleeps", "raises SystemExit"
        ),
    },
}
# What takes longest, the longest first. These begin first, in all processes: none is left for the end.
LONGEST: Final = (
    "test_it_passes_whole_on_the_embedded_stack_and_leaves_nothing",
    "test_the_worker_runs_on_its_schedule",
    "test_an_operator_may_move_messages_and_pause_and_what_a_monitor_may",
    "test_an_incident_of_two_people_is_in_the_history_whole_and_in_order",
    "test_a_key_is_in_no_output_log_or_queue_whatever_code_and_api_do",
    "test_a_change_killed_at_every_call_is_completed_and_never_are_both_enabled",
    "test_a_deployer_may_do_what_deploy_rollback_keys_and_destroy_take_and_nothing_else",
    "test_the_value_appears_nowhere",
    "test_five_environments_of_one_file_live_beside_one_another",
    "test_600_items_of_60_groups_put_while_it_runs_arrive_in_order_within_seconds",
    "test_a_group_that_fails_for_ever_is_seen_and_set_aside_by_what_status_advises",
    "test_functions_side_by_side_deliver_each_message_once_and_in_order_with_an_outage_and_kills",
    "test_in_bad_weather_it_completes_or_says_that_it_is_unfinished",
    "test_a_deploy_of_changes_killed_at_every_one_is_completed_by_the_next",
    "test_what_starts_it_is_changed_while_messages_flow_and_none_is_lost_doubled_or_out_of_order",
    "test_a_deploy_killed_at_every_change_is_completed_by_the_next",
    "test_who_changes_what_starts_the_worker_may_do_that_and_the_role_may_poll",
    "test_answers_later_than_the_client_waits_lose_nothing",
    "test_depth_watch_in_a_pipe_outlives_a_lost_connection",
)


def longest_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Put the longest tests in front of what each of the processes gets; the others stay in their order.

    pytest-xdist gives each an equal part of the list, one after the other (``--dist worksteal``).
    """
    places = {name: place for place, name in enumerate(LONGEST)}
    others = [item for item in items if _name(item) not in places]
    longest = sorted((item for item in items if _name(item) in places), key=lambda item: places[_name(item)])
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        own = longest[worker::workers]
        size = (len(items) - len(ordered)) // (workers - worker) - len(own)
        ordered += own + others[: max(0, size)]
        del others[: max(0, size)]
    return ordered + others


def _name(item: pytest.Item) -> str:
    return str(getattr(item, "originalname", item.name))


def file_of(path: Path) -> str:
    """Return a file's name below ``tests/``."""
    return path.relative_to(Path(__file__).parent).as_posix()


def has_tests(path: Path, tier: str) -> bool:
    """Say whether a file may have tests of a tier."""
    file = file_of(path)
    integration = file.startswith("integration/")
    if tier == DEFAULT:
        return file in STORIES if integration else "pytestmark = pytest.mark.slow" not in path.read_text()
    return tier != SLOW or integration or "mark.slow" in path.read_text()


def mark_tiers(items: Iterable[pytest.Item]) -> None:
    """Mark as slow what is neither a story nor long, and as long the cases of a matrix that CI leaves out."""
    seen: Counter[tuple[str, str]] = Counter()
    for item in items:
        file, name = file_of(item.path), _name(item)
        kept = SAMPLED.get(file, {}).get(name)
        if kept is not None:
            case = item.name.partition("[")[2].removesuffix("]")
            if seen[file, name] % kept if isinstance(kept, int) else case not in kept:
                item.add_marker(pytest.mark.long)
            seen[file, name] += 1
        is_story = not {name, item.name}.isdisjoint(STORIES.get(file, ()))
        if file.startswith("integration/") and not is_story and item.get_closest_marker("long") is None:
            item.add_marker(pytest.mark.slow)
