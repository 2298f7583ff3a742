"""Reading of what Dagster keeps of a failed step."""

import dagster as dg


def failure(result: dg.ExecuteInProcessResult) -> dg.Failure:
    """What the first failed step of a run said, with its metadata."""
    data = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert data is not None
    return data


def said(result: dg.ExecuteInProcessResult) -> str:
    """The words of the first failed step of a run that failed."""
    assert not result.success
    return failure(result).description or ""
