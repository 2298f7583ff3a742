"""Slots of Dagster's pools, taken and given back as Dagster's own steps do."""

import dagster as dg


def claim_slot(instance: dg.DagsterInstance, pool: str, run_id: str, step: str) -> bool:
    """Take a slot of a pool if this step's turn has come; else it has its place in the queue.

    Args:
        instance: that keeps the pools.
        pool: its name; the instance's default limit holds where none was set.
        run_id: of the run that the step belongs to.
        step: that works in it.

    Returns:
        True where it has a slot, and where there is no limit.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return True
    default = storage.get_pool_config().default_pool_limit
    limit = next((known for known in storage.get_pool_limits() if known.name == pool), None)
    if limit is None and default is None:
        return True
    if limit is None or (limit.from_default and default is not None and limit.limit != default):
        storage.initialize_concurrency_limit_to_default(pool)
    return storage.claim_concurrency_slot(pool, run_id, step).is_claimed


def free_slot(instance: dg.DagsterInstance, run_id: str, step: str) -> None:
    """Give the slot of a step back, or its place in the queue."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slot_for_step(run_id, step)


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Free all slots that a run holds or waits for."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def runs_in_pools(instance: dg.DagsterInstance) -> set[str]:
    """Return the ids of runs that hold slots, or wait for them."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return set()
    pools = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
    return {slot.run_id for pool in pools for slot in pool.claimed_slots} | {
        step.run_id for pool in pools for step in pool.pending_steps
    }
