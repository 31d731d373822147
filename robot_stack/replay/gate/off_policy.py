"""What both bundles are worth by the logs alone (FQE: our logs hold no densities)."""

from collections.abc import Sequence

from policies.onnx_policy import OnnxPolicy
from robot_stack.config.gate import GateSettings
from robot_stack.data.episode import Episode
from robot_stack.replay.gate.evidence import Estimate
from robot_stack.replay.ope.estimate import Estimator, estimate
from robot_stack.replay.ope.from_episodes import logged_from_episodes, proposed_by_bundle


def estimates(
    episodes: Sequence[Episode], candidate: OnnxPolicy, against: OnnxPolicy, settings: GateSettings
) -> tuple[Estimate, ...]:
    """The value of both on `episodes`, from their column `settings.reward`, a decision every `settings.period_s`.

    The interval of the difference goes from the candidate's low end less the other's high one to the reverse: wide, never too
    narrow. Raises DataError where the columns are missing, or the episodes are not at the bundle's rate.
    """
    rows = max(1, round(settings.period_s * candidate.manifest.rate_hz))
    logged = logged_from_episodes(episodes, settings.reward, settings.state, rows)
    one, other = (
        estimate(logged, proposed_by_bundle(policy, episodes, logged, rows), Estimator.FQE) for policy in (candidate, against)
    )
    return (Estimate("FQE", one.value, other.value, (one.low - other.high, one.high - other.low)),)
