"""A checkpoint becomes a bundle: one ONNX graph that is the whole decision, and a manifest that says what it is.

In: uint8 pictures, joints, the plan (T, J) and how many of its rows are given, noise (N, T, J), N dynamic. Inside: resize,
normalisation, ONE encoding, N-way sampling with all steps unrolled, each going on from the plan (`inpaint`), the selector's
pseudo-counts (or, of `q_rank`, Q) and the arg-max. Out: chunk (T, J), winner, counts (N,), features (N, F), candidates (N, T, J).
"""

import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from policies.bundle import MANIFEST, MODEL, VERSION, Manifest, put_in_place, sha256_of, write_manifest
from policies.checkpoint import Card, load_checkpoint
from policies.chunk_policy import ChunkPolicy
from policies.encoder import Resize
from policies.engines.onnx_runtime import OnnxRuntimeEngine
from policies.engines.torch_graphs import TorchEngine
from policies.parity import TOLERANCES_RAD, measure_parity, recorded_inputs
from policies.precision import set_precision
from policies.q_rank import QRank
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError

OPSET = 20
OUTPUTS = ["chunk", "winner", "counts", "features", "candidates"]


class Decision(nn.Module):
    """The exported graph as a module. Without a selector the counts are zero and candidate 0 wins.

    `shared` False encodes the observation once for each candidate, as the code published with TACO does, and takes the mean of
    what are N equal conditions: for comparison only.
    """

    gains: Tensor

    def __init__(self, policy: ChunkPolicy, selector: nn.Module | None, shared: bool = True) -> None:
        super().__init__()
        self.policy, self.selector, self.shared = policy, selector, shared
        self.resize = nn.ModuleList(Resize(size, policy.size) for _, size in policy.shape.cameras)
        self.register_buffer("gains", policy.gains(), persistent=False)

    def example(self, candidates: int = 3) -> dict[str, Tensor]:
        """Every input by its name: pictures uint8 (H, W, 3), `joints` (J,), `speeds` (J,) and `tokens` (L,) where the policy has
        them, `plan` (T, J) rad, `given` (1,) of its rows (0: there is no plan), `noise` (N, T, J)."""
        policy, settings = self.policy, self.policy.settings
        joints, noise = torch.zeros(policy.shape.num_joints), torch.randn(candidates, settings.rows, policy.shape.num_joints)
        feed = {f"image_{name}": torch.zeros(*size, 3, dtype=torch.uint8) for name, size in policy.shape.cameras}
        feed["joints"] = joints
        if settings.velocity:
            feed["speeds"] = torch.ones_like(joints)
        if settings.tokens:
            feed["tokens"] = torch.zeros(settings.tokens, dtype=torch.int64)
        return feed | {"plan": torch.zeros(noise.shape[1:]), "given": torch.zeros(1, dtype=torch.int64), "noise": noise}

    def _condition(self, seen: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        cameras = zip(self.resize, self.policy.shape.cameras, strict=True)
        pictures = [resize(seen[f"image_{name}"]) for resize, (name, _) in cameras]
        return self.policy.encode(pictures, inputs, seen.get("tokens"))

    def _repeated(self, seen: Mapping[str, Tensor], inputs: Tensor, noise: Tensor) -> Tensor:
        many = {name: value.expand(noise.shape[0], *value.shape[1:]) for name, value in seen.items()}
        return self._condition(many, inputs.expand(noise.shape[0], -1)).mean(0, keepdim=True)

    def forward(self, feed: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """OUTPUTS of the inputs `feed` (`example`)."""
        policy, joints, noise = self.policy, feed["joints"], feed["noise"]
        seen = {name: value[None] for name, value in feed.items() if name in ("joints", "speeds", "tokens")}
        seen |= {name: value.float()[None] for name, value in feed.items() if name.startswith("image_")}  # TensorRT asks it first
        inputs = policy.joint_inputs(seen["joints"], seen.get("speeds"))
        condition = self._condition(seen, inputs) if self.shared else self._repeated(seen, inputs, noise)
        gain = self.gains[feed["given"]][0]
        delta, features = policy.sample(condition, policy.centre(inputs), noise, feed["plan"] - joints, gain)
        if isinstance(self.selector, QRank):
            delta, counts = self.selector.judged(condition, inputs, delta, feed["given"])
        else:
            counts = counted(self.selector, features)
        return chosen(joints + delta, counts, features)


def counted(selector: nn.Module | None, features: Tensor) -> Tensor:
    """The counts (N,) of features (N, F); without a selector zeros, so that candidate 0 wins."""
    counts: Tensor = features[:, 0] * 0.0 if selector is None else selector(features).reshape(-1)
    return counts


def chosen(candidates: Tensor, counts: Tensor, features: Tensor) -> tuple[Tensor, ...]:
    """OUTPUTS: of the candidates (N, T, J) the one with the largest of the counts (N,)."""
    winner = torch.argmax(counts[None], dim=1)  # of a matrix: TensorRT takes no vector
    return torch.index_select(candidates, 0, winner)[0], winner[0], counts, features, candidates


def export_bundle(
    checkpoint: Path,
    out: Path,
    selector: nn.Module | None,
    episodes: Sequence[Episode],
    tolerance: float = 0.0,
    precision: str = "fp32",
    calibration: Sequence[Episode] = (),
) -> Path:
    """Write the bundle of `checkpoint` into `out` and compare it with PyTorch on recorded observations of `episodes`.

    `selector` maps features (N, F) to pseudo-counts (N,), larger is more familiar. `precision`: see `precision`; int8 and fp8 are
    scaled by observations of `calibration` (none: of `episodes`). `tolerance` in rad, 0: that of the precision. An old bundle at
    `out` is replaced in one step. Raises PolicyError when `out` holds anything else; and, leaving it as it was, beyond tolerance.
    """
    policy, card = load_checkpoint(checkpoint)
    decision = Decision(policy, selector).eval()
    with new_bundle(out) as part:
        write_graph(decision, part / MODEL)
        example = {name: value.numpy() for name, value in decision.example().items()}
        observed = (feed for _, feed in recorded_inputs(calibration or episodes, example, 64))
        measured = set_precision(part / MODEL, precision, observed)
        reference, found = TorchEngine(decision, OUTPUTS), OnnxRuntimeEngine(measured, precision=precision)
        parity = measure_parity(reference, found, episodes, example)
        parity.check(tolerance or TOLERANCES_RAD[precision])
        if measured != part / MODEL:
            measured.unlink()
        files = {MODEL: sha256_of(part / MODEL)}
        write_manifest(part, replace(_manifest(policy, card, selector, parity.figures, files), precision=precision))
    return out


@contextmanager
def new_bundle(out: Path) -> Iterator[Path]:
    """The folder the block writes a bundle into; once it ends that is at `out`, in place of an old bundle.

    Raises PolicyError when `out` holds anything else. When the block raises one, nothing is left and `out` is as it was.
    """
    refuse_foreign(out)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except PolicyError:
        shutil.rmtree(part)
        raise
    put_in_place(part, out)


def refuse_foreign(out: Path) -> None:
    """A bundle may be overwritten; any other folder that holds something may not."""
    if out.exists() and not (out / MANIFEST).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise PolicyError(
            f"{out}: found something that is no bundle, allowed a new or empty folder or an old bundle; name another"
        )


def write_graph(decision: Decision, path: Path) -> None:
    """Export `decision` at opset OPSET with a dynamic number of candidates; weights are inside the file."""
    feed = decision.example()
    dynamic = {name: {0: torch.export.Dim("candidates", min=1, max=4096)} if name == "noise" else None for name in feed}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            decision,
            (),
            str(path),
            kwargs={"feed": feed},
            input_names=list(feed),
            output_names=OUTPUTS,
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes={"feed": dynamic},
            external_data=False,
            verbose=False,
        )


def _manifest(
    policy: ChunkPolicy, card: Card, selector: nn.Module | None, parity: dict[str, float], files: dict[str, str]
) -> Manifest:
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
        selector="" if selector is None else "q_rank" if isinstance(selector, QRank) else "taco",
        data_sha256=card.data_sha256,
        train_frames=card.num_frames,
        opset=OPSET,
        statistics=statistics,
        figures={**card.figures, **(selector.figures if isinstance(selector, QRank) else {})},
        parity=parity,
        files=files,
    )
