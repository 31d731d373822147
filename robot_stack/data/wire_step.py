"""A control tick (`Step`) <-> diagnostic_msgs/DiagnosticArray: one status a person can read, one JSON text for each field.

JSON numbers of Python round-trip every float exactly; NaN and Infinity are written as such. The chunk is written by
reference: it lies on /policy/chunk or /teleop/chunk of the same log.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_stack.errors import ContractError
from robot_stack.types import (
    ActionChunk,
    Decision,
    FailureScore,
    Hazards,
    JointCommand,
    JointState,
    Mode,
    Reason,
    Request,
    SafeCommand,
    SafetyVerdict,
    Step,
    TickInputs,
    Violation,
)

_LEVELS = {Decision.PASS: 0, Decision.LIMIT: 0, Decision.HOLD: 1, Decision.STOP: 2}


def sentence(step: Step) -> str:
    """The tick in a few words: "policy: limit (learned_barrier 0.02, slowed_along_path)"."""
    verdict = step.verdict
    reasons = [v.reason.value if v.amount == 0 else f"{v.reason.value} {v.amount:.3g}" for v in verdict.violations]
    because = f" because {', '.join(r.value for r in step.mode_cause)}" if step.mode_cause else ""
    return f"{verdict.mode.value}{because}: {verdict.decision.value}" + (f" ({', '.join(reasons)})" if reasons else "")


def verdict_text(step: Step) -> str:
    """Every bit of what was decided in a tick (verdict and mode causes) as one line of JSON: equal texts, equal bits."""
    fields = _verdict_fields(step.verdict) | {"mode_cause": [r.value for r in step.mode_cause]}
    return json.dumps(fields, separators=(",", ":"))


def step_message(step: Step, make: Callable[..., Any], header: Any, chunk_key: Callable[[ActionChunk], str]) -> Any:
    """A diagnostic_msgs/DiagnosticArray of one status with the whole of `step`."""
    fields = {**_inputs_fields(step.inputs, chunk_key), **_verdict_fields(step.verdict)}
    fields |= {"lateness_ns": step.lateness_ns, "mode_cause": [r.value for r in step.mode_cause]}
    pairs = [make("diagnostic_msgs/msg/KeyValue", key=k, value=json.dumps(v, separators=(",", ":"))) for k, v in fields.items()]
    status = make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=_LEVELS[step.verdict.decision],
        name="arm/verdict",
        message=sentence(step),
        hardware_id="",
        values=pairs,
    )
    return make("diagnostic_msgs/msg/DiagnosticArray", header=header, status=[status])


def _inputs_fields(inputs: TickInputs, chunk_key: Callable[[ActionChunk], str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if (j := inputs.joints) is not None:
        fields["joints"] = [j.t_ns, j.q.tolist(), j.qd.tolist(), None if j.tau is None else j.tau.tolist()]
    if inputs.chunk is not None:
        fields["chunk"] = chunk_key(inputs.chunk)
    if inputs.fallback is not None:
        fields["fallback"] = _command_fields(inputs.fallback)
    if (s := inputs.score) is not None:
        fields["score"] = [s.t_ns, s.score, s.threshold, s.cause]
    if (h := inputs.hazards) is not None:
        fields["hazards"] = [h.t_ns, h.p_W.tolist(), h.radius.tolist(), h.sigma.tolist(), h.speed_max.tolist()]
    if inputs.request is not None:
        fields["request"] = inputs.request.value
    if inputs.refused is not None:
        fields["refused"] = inputs.refused.value
    return fields


def _verdict_fields(v: SafetyVerdict) -> dict[str, Any]:
    return {
        "mode": v.mode.value,
        "decision": v.decision.value,
        "verdict_t_ns": v.t_ns,
        "proposed": None if v.proposed is None else _command_fields(v.proposed),
        "command": _command_fields(v.command),
        "violations": [[x.reason.value, float(x.amount), int(x.index)] for x in v.violations],
        "solver": v.solver,
        "slack": float(v.slack),
        "margin": float(v.margin),
        "barrier": float(v.barrier),
    }


def _command_fields(c: JointCommand) -> list[Any]:
    return [c.t_ns, c.q.tolist(), None if c.qd is None else c.qd.tolist()]


def step_value(message: Any, t_ns: int, chunk_of: Callable[[str], ActionChunk] | None) -> Step:
    """The tick in `message`, stamped `t_ns`. `chunk_of` finds the chunk a key names; None: the chunk is left out.

    Raises ContractError when fields are missing or are no such values; passes on what `chunk_of` raises.
    """
    if len(message.status) != 1:
        raise ContractError(f"/arm/verdict: found {len(message.status)} statuses, allowed 1")
    try:
        pairs = message.status[0].values
        fields = dict(zip([p.key for p in pairs], json.loads(f"[{','.join([p.value for p in pairs])}]"), strict=True))
        cause = tuple(Reason(r) for r in fields["mode_cause"])
        return Step(t_ns, fields["lateness_ns"], _inputs_value(fields, chunk_of), _verdict_value(fields), cause)
    except (KeyError, ValueError, TypeError) as error:
        found = f"{type(error).__name__} {error}"
        raise ContractError(f"/arm/verdict at {t_ns} ns: found {found}; the tick was not written by arm_node") from error


def _inputs_value(fields: dict[str, Any], chunk_of: Callable[[str], ActionChunk] | None) -> TickInputs:
    key = fields.get("chunk")
    return TickInputs(
        joints=JointState(*fields["joints"]) if "joints" in fields else None,
        chunk=chunk_of(key) if key is not None and chunk_of is not None else None,
        fallback=JointCommand(*fields["fallback"]) if "fallback" in fields else None,
        score=FailureScore(*fields["score"]) if "score" in fields else None,
        hazards=_hazards_value(fields["hazards"]) if "hazards" in fields else None,
        request=Request(fields["request"]) if "request" in fields else None,
        refused=Reason(fields["refused"]) if "refused" in fields else None,
    )


def _hazards_value(fields: list[Any]) -> Hazards:
    t_ns, centres, *rest = fields
    return Hazards(t_ns, np.array(centres, dtype=np.float64).reshape(-1, 3), *rest)


def _verdict_value(fields: dict[str, Any]) -> SafetyVerdict:
    proposed = fields["proposed"]
    return SafetyVerdict(
        t_ns=fields["verdict_t_ns"],
        mode=Mode(fields["mode"]),
        decision=Decision(fields["decision"]),
        proposed=None if proposed is None else JointCommand(*proposed),
        command=SafeCommand(JointCommand(*fields["command"])),
        violations=tuple(Violation(Reason(r), amount, index) for r, amount, index in fields["violations"]),
        solver=fields["solver"],
        slack=fields["slack"],
        margin=fields["margin"],
        barrier=fields["barrier"],
    )
