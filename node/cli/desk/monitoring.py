"""One line and an exit status for Nagios, Icinga and their kin."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NoReturn

import typer

from node.cli.check import Outcome
from node.cli.status import NodeStatus
from node.cli.terminal import console_for, plain
from node.settings import Settings
from storage.record import Level

console = console_for()


class ServiceState(IntEnum):
    """State of a service, and the exit status of a plug-in."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


def state_of(settings: Settings, status: NodeStatus) -> tuple[ServiceState, str]:
    """State of a node, with the reasons, and figures behind a bar."""
    critical, warnings = list(status.role_faults), list(status.segment_faults)
    if status.pressure.share >= settings.closed_share:
        critical.append(f"{status.pressure.resource} {status.pressure.share:.0%}: senders are refused")
    elif status.pressure.share >= settings.busy_share:
        warnings.append(f"{status.pressure.resource} {status.pressure.share:.0%}: senders are slowed down")
    if status.waiting_s > settings.alarm_waiting_s:
        warnings.append(f"an instance has waited for {status.waiting_s:.0f} s to be indexed")
    if status.set_aside_lately > settings.alarm_set_aside:
        warnings.append(f"{status.set_aside_lately} objects of the last 24 hours were set aside")
    if status.set_aside_deleted:
        warnings.append(f"{status.set_aside_deleted} objects set aside were deleted by retention")
    state = ServiceState.CRITICAL if critical else ServiceState.WARNING if warnings else ServiceState.OK
    reasons = "; ".join(critical + warnings) or f"{status.entities[Level.IMAGE]} instances indexed"
    aside, fullest = sum(status.set_aside.values()), status.pressure.share
    figures = f"waiting={status.waiting} age={status.waiting_s:.0f}s aside={aside} fullest={fullest:.2f}"
    return state, f"{reasons} | {figures}"


def state_of_checks(outcomes: Sequence[Outcome]) -> tuple[ServiceState, str]:
    """State of a node by its checks: any fault is critical."""
    faults = [f"{outcome.subject}: {outcome.finding}" for outcome in outcomes if not outcome.good]
    figures = f"faults={len(faults)}"
    if faults:
        return ServiceState.CRITICAL, f"{'; '.join(faults)} | {figures}"
    return ServiceState.OK, f"{len(outcomes)} checks are good | {figures}"


def exit_as_plugin(state: ServiceState, text: str) -> NoReturn:
    """Print the line of a plug-in, and exit with its status."""
    line = " ".join(text.split())
    console.print(plain(f"LOOKALIKE {state.name} - {line}"), highlight=False, soft_wrap=True)
    raise typer.Exit(int(state))
