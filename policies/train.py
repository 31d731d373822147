"""Training: deterministic by seed at a fixed thread count, resumable, one loop.

Every random draw of a step is seeded by (seed, step), so a run that was interrupted and resumed ends in the same bits.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from policies.augment import colour, shift
from policies.checkpoint import RESUME, Card, load_resume, named, save_checkpoint, save_resume, with_prefix
from policies.chunk_policy import ChunkPolicy
from policies.frames import Frames, frames_of, set_statistics, shape_of
from policies.recorded import data_hash
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError


def train_policy(episodes: Sequence[Episode], settings: PolicySettings, train: TrainSettings, out: Path) -> Path:
    """Train on all but the last `train.holdout` episodes; returns `out`, the checkpoint folder.

    Raises PolicyError when the episodes differ in joints, cameras, rate or instruction, lack the column `train.weights`, or when
    none is left to train on.
    """
    shape = shape_of(episodes, settings.tokens == 0)
    kept = list(episodes[: len(episodes) - train.holdout])
    if not kept:
        raise PolicyError(f"train.holdout: found {train.holdout}, allowed 0..{len(episodes) - 1} for {len(episodes)} episodes")
    torch.set_num_threads(max(1, train.threads))
    torch.manual_seed(train.seed)
    frames, policy = frames_of(kept, settings, train.weights), ChunkPolicy(shape, settings)
    weight = set_statistics(policy, frames)
    digest = data_hash(kept, train.weights)
    card = Card(settings, train, kept[0].joint_names, shape.cameras, kept[0].instruction, digest, len(frames))
    run = _Run(policy, card, out)
    run.loop(frames, weight)
    policy.load_state_dict(policy.state_dict() | run.average)
    figures = holdout_figures(policy.eval(), episodes[len(kept) :]) | {"train_loss": run.loss}
    save_checkpoint(out, policy, replace(card, steps_done=run.step, figures=figures))
    (out / RESUME).unlink(missing_ok=True)
    return out


class _Run:
    """The moving parts of one training run: weights, their running average, optimiser, step."""

    def __init__(self, policy: ChunkPolicy, card: Card, out: Path) -> None:
        self.policy, self.train, self.out = policy, card.train, out
        self.step, self.loss = 0, float("nan")
        self.key = hashlib.sha256(json.dumps(asdict(card), sort_keys=True).encode()).hexdigest()
        self.average = {name: p.detach().clone() for name, p in policy.named_parameters()}
        self.optimiser = torch.optim.AdamW(
            policy.parameters(), lr=card.train.lr, weight_decay=card.train.weight_decay, fused=True
        )
        self.spent_s = 0.0
        if (saved := load_resume(out, self.key)) is not None:
            self._restore(*saved)

    def loop(self, frames: Frames, weight: Tensor) -> None:
        """Step until `steps` or `minutes` are spent."""
        train, begin = self.train, time.process_time() - self.spent_s
        bar = tqdm(total=train.steps, initial=self.step, desc="train", unit="step", mininterval=1.0)
        while self.step < train.steps:
            self.spent_s = time.process_time() - begin
            by_clock = self.spent_s / (60.0 * train.minutes) if train.minutes > 0 else 0.0
            if by_clock >= 1.0:
                break
            self._one(frames, weight, max(self.step / train.steps, by_clock))
            bar.update()
            if self.step % 50 == 0:
                bar.set_postfix(loss=f"{self.loss:.4f}")
            if self.step % train.save_every == 0:
                self._save()
        bar.close()

    def _one(self, frames: Frames, weight: Tensor, progress: float) -> None:
        train = self.train
        torch.manual_seed(train.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = train.lr * learning_rate(progress, self.step, train.warmup)
        loss = batch_loss(self.policy, frames, weight, train)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), train.clip)
        self.optimiser.step()
        self.step += 1
        decay = min(train.ema, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.policy.parameters()), 1.0 - decay)
        value = float(loss.detach())
        self.loss = value if np.isnan(self.loss) else 0.98 * self.loss + 0.02 * value

    def _save(self) -> None:
        parameters = dict(self.policy.named_parameters())
        state = {name: self.optimiser.state[p] for name, p in parameters.items() if p in self.optimiser.state}
        tensors = named("weight", parameters) | named("average", self.average)
        for part in ("exp_avg", "exp_avg_sq", "step"):
            tensors |= named(part, {name: s[part] for name, s in state.items()})
        tensors["run"] = torch.tensor([self.loss, self.spent_s], dtype=torch.float64)
        save_resume(self.out, tensors, self.key, self.step)

    def _restore(self, tensors: dict[str, Tensor], step: int) -> None:
        self.policy.load_state_dict(self.policy.state_dict() | with_prefix("weight", tensors))
        self.average = with_prefix("average", tensors)
        self.average = {name: self.average[name] for name, _ in self.policy.named_parameters()}
        parts = {part: with_prefix(part, tensors) for part in ("exp_avg", "exp_avg_sq", "step")}
        for name, parameter in self.policy.named_parameters():
            if name in parts["step"]:  # what no loss reaches (the foresight, when it is not asked for) has no state
                self.optimiser.state[parameter] = {part: parts[part][name] for part in parts}
        self.step, (self.loss, self.spent_s) = step, tensors["run"].tolist()


def learning_rate(progress: float, step: int, warmup: int) -> float:
    """Share of the full learning rate: linear warm-up, then half a cosine down to zero at `progress` 1."""
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1.0 + float(np.cos(np.pi * progress)))


def batch_loss(policy: ChunkPolicy, frames: Frames, weight: Tensor, train: TrainSettings) -> Tensor:
    """Loss of one random, augmented batch. Noise on the joints moves the input, not the target: the chunk learns to lead back.

    With `foresight` the pictures alone must also say where the joints will be, seconds ahead: demonstrated joints tell the next
    chunk so well that the eyes would learn little from the chunk alone.
    """
    odds = frames.odds
    pick = torch.randint(len(frames), (train.batch,)) if odds is None else torch.multinomial(odds, train.batch, replacement=True)
    pictures = [colour(shift(p[pick], train.shift), train.colour) for p in frames.pictures]
    q = frames.q[pick]
    q = q + train.joint_noise * policy.joint_std * torch.randn_like(q)
    joints = policy.joint_inputs(q, frames.qd[pick] if policy.settings.velocity else None)
    modes = policy.to_modes(frames.chunk[pick] - q[:, None], policy.centre(joints))
    with torch.autocast("cpu", torch.bfloat16, enabled=train.bfloat16):
        seen = policy.encoder.look(pictures)
        condition = policy.encoder(seen, joints, frames.tokens[pick])
        loss = policy.loss(condition, modes.repeat(train.repeats, 1, 1), weight)
        if train.foresight > 0.0:
            ahead = (frames.ahead[pick] - policy.joint_mean) / policy.joint_std
            loss = loss + train.foresight * (policy.foreseen(seen) - ahead).square().mean()
    return loss


@torch.no_grad()
def holdout_figures(policy: ChunkPolicy, episodes: Sequence[Episode], stride: int = 5) -> dict[str, float]:
    """Mean absolute error (rad) over every `stride`-th sample: of one chunk, of the mean of 16, of holding the pose."""
    if not episodes:
        return {}
    frames = frames_of(episodes, policy.settings)
    noise = torch.randn(16, *frames.chunk.shape[1:], generator=torch.Generator().manual_seed(0))
    one, mean, hold = [], [], []
    for i in range(0, len(frames), stride):
        delta = frames.chunk[i] - frames.q[i]
        sampled, _ = sample_at(policy, frames, i, noise)
        one.append(float((sampled[0] - delta).abs().mean()))
        mean.append(float((sampled.mean(0) - delta).abs().mean()))
        hold.append(float(delta.abs().mean()))
    return {"one": float(np.mean(one)), "mean_of_16": float(np.mean(mean)), "hold": float(np.mean(hold))}


@torch.no_grad()
def sample_at(policy: ChunkPolicy, frames: Frames, index: int, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Relative chunks (N, T, J) rad and features (N, F) that `policy` draws at sample `index` from `noise` (N, T, J)."""
    part = slice(index, index + 1)
    joints = policy.joint_inputs(frames.q[part], frames.qd[part] if policy.settings.velocity else None)
    condition = policy.encode([p[part].float() for p in frames.pictures], joints, frames.tokens[part])
    return policy.sample(condition, policy.centre(joints), noise)
