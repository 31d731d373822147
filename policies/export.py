"""A checkpoint becomes a bundle: one ONNX graph that is the whole decision, and a manifest that says what it is.

In: uint8 pictures, joints, the plan (T, J) and how many of its rows are given, noise (N, T, J), N dynamic. Inside: resize,
normalisation, ONE encoding, N-way sampling with all steps unrolled, each going on from the plan (`inpaint`), the selector's
pseudo-counts and the arg-max. Out: chunk (T, J), winner, counts (N,), features (N, F), candidates (N, T, J).
"""

import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.bundle import MANIFEST, MODEL, VERSION, Manifest, sha256_of, write_manifest
from policies.checkpoint import Card, load_checkpoint
from policies.chunk_policy import ChunkPolicy
from policies.encoder import Resize
from policies.inpaint import gains
from policies.parity import TOLERANCE_RAD, measure_parity
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError

OPSET = 20
OUTPUTS = ["chunk", "winner", "counts", "features", "candidates"]


class Decision(nn.Module):
    """The exported graph as a module. Without a selector the counts are zero and candidate 0 wins."""

    gains: Tensor

    def __init__(self, policy: ChunkPolicy, selector: nn.Module | None) -> None:
        super().__init__()
        self.policy, self.selector = policy, selector
        self.resize = nn.ModuleList(Resize(size, policy.size) for _, size in policy.shape.cameras)
        table = gains(policy.basis.double().numpy(), policy.mode_std.double().numpy())
        self.register_buffer("gains", torch.tensor(table, dtype=torch.float32), persistent=False)

    def forward(
        self,
        pictures: list[Tensor],
        joints: Tensor,
        speeds: Tensor | None,
        tokens: Tensor | None,
        plan: Tensor,
        given: Tensor,
        noise: Tensor,
    ) -> tuple[Tensor, ...]:
        """`pictures` uint8 (H, W, 3) each, `joints` (J,), `speeds` (J,) or None, `tokens` (L,) or None, `plan` (T, J) rad,
        `given` (1,) of its rows (0: there is no plan), `noise` (N, T, J)."""
        resized = [resize(picture[None]) for resize, picture in zip(self.resize, pictures, strict=True)]
        inputs = self.policy.joint_inputs(joints[None], None if speeds is None else speeds[None])
        condition = self.policy.encode(resized, inputs, None if tokens is None else tokens[None])
        delta, features = self.policy.sample(condition, self.policy.centre(inputs), noise, plan - joints, self.gains[given][0])
        candidates = joints + delta
        counts = features[:, 0] * 0.0 if self.selector is None else self.selector(features).reshape(-1)
        winner = torch.argmax(counts)
        return torch.index_select(candidates, 0, winner.reshape(1))[0], winner, counts, features, candidates


def export_bundle(
    checkpoint: Path, out: Path, selector: nn.Module | None, episodes: Sequence[Episode], tolerance: float = TOLERANCE_RAD
) -> Path:
    """Write the bundle of `checkpoint` into `out` and compare it with PyTorch on recorded observations of `episodes`.

    `selector` maps features (N, F) to pseudo-counts (N,), larger is more familiar. An old bundle at `out` is replaced.
    Raises PolicyError when `out` holds anything else; and, leaving no bundle, when a difference exceeds `tolerance` (rad).
    """
    _refuse_foreign(out)
    policy, card = load_checkpoint(checkpoint)
    decision = Decision(policy, selector).eval()
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_graph(decision, part / MODEL)
    parity = measure_parity(decision, part / MODEL, episodes)
    if not parity["max_abs_rad"] <= tolerance:
        shutil.rmtree(part)
        raise PolicyError(
            f"parity: found {parity['max_abs_rad']:.2e} rad between ONNX and PyTorch over {parity['observations']:.0f} samples, "
            f"allowed {tolerance:.0e}; no bundle was written; retrain, or raise the tolerance if you know why"
        )
    write_manifest(part, _manifest(policy, card, selector is not None, parity, {MODEL: sha256_of(part / MODEL)}))
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)
    return out


def _refuse_foreign(out: Path) -> None:
    """A bundle may be overwritten; any other folder that holds something may not."""
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise PolicyError(
            f"{out}: found something that is no bundle, allowed a new or empty folder or an old bundle; name another"
        )


def write_graph(decision: Decision, path: Path) -> None:
    """Export `decision` at opset OPSET with a dynamic number of candidates; weights are inside the file."""
    policy = decision.policy
    pictures = [torch.zeros(*size, 3, dtype=torch.uint8) for _, size in policy.shape.cameras]
    joints = torch.zeros(policy.shape.num_joints)
    noise = torch.randn(3, policy.settings.rows, policy.shape.num_joints)
    speeds = torch.ones_like(joints) if policy.settings.velocity else None
    tokens = torch.zeros(policy.settings.tokens, dtype=torch.int64) if policy.settings.tokens else None
    plan, given = torch.zeros(noise.shape[1:]), torch.zeros(1, dtype=torch.int64)
    numbers = ["joints"] + ["speeds"] * (speeds is not None) + ["tokens"] * (tokens is not None) + ["plan", "given", "noise"]
    names = [f"image_{name}" for name, _ in policy.shape.cameras] + numbers
    candidates = torch.export.Dim("candidates", min=1, max=4096)
    dynamic = ([None] * len(pictures), None, None, None, None, None, {0: candidates})
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            decision,
            (pictures, joints, speeds, tokens, plan, given, noise),
            str(path),
            input_names=names,
            output_names=OUTPUTS,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=dynamic,
            external_data=False,
            verbose=False,
        )


def _manifest(policy: ChunkPolicy, card: Card, selector: bool, parity: dict[str, float], files: dict[str, str]) -> Manifest:
    settings = card.settings
    statistics = {name: getattr(policy, name).tolist() for name in ("joint_mean", "joint_std", "speed_std")}
    return Manifest(
        version=VERSION,
        name=settings.name,
        joint_names=card.joint_names,
        unit="rad (m for a prismatic joint)",
        cameras=card.cameras,
        instruction=card.instruction,
        rows=settings.rows,
        dt_ns=round(1e9 / settings.rate_hz),
        rate_hz=settings.rate_hz,
        candidates=settings.candidates,
        features=policy.num_features,
        denoising_steps=settings.steps,
        velocity=settings.velocity,
        tokens=settings.tokens,
        continues=True,
        selector=selector,
        data_sha256=card.data_sha256,
        train_frames=card.num_frames,
        opset=OPSET,
        statistics=statistics,
        figures=dict(card.figures),
        parity=parity,
        files=files,
    )
