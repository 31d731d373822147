"""Training: deterministic by seed at a fixed thread count, resumable, one loop, in one process or many.

Every random draw of a step is seeded by (seed, step), so a run that was interrupted and resumed ends in the same bits.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from policies.checkpoint import RESUME, Card, load_resume, named, save_checkpoint, save_resume, with_prefix
from policies.chunk_policy import ChunkPolicy
from policies.distributed import Team, team_of
from policies.frames import Frames, frames_of, set_statistics, shape_of
from policies.held_out import holdout_figures, one_chunk_error
from policies.loader import Batch, Loader, draw
from policies.prdc import Prdc, prdc_of
from policies.recorded import data_hash
from policies.watch import Watch
from robot_stack.config.schema import PolicySettings, TrainSettings
from robot_stack.data.episode import Episode
from robot_stack.errors import PolicyError


def train_policy(episodes: Sequence[Episode], settings: PolicySettings, train: TrainSettings, out: Path) -> Path:
    """Train on all but the last `train.holdout` episodes; returns `out`, the checkpoint folder.

    Raises PolicyError when the episodes differ in joints, cameras, rate or instruction, lack the column `train.weights`, when
    none is left to train on, when torchrun's processes cannot share the batch, or when the disk is full.
    """
    if bool(settings.latent) != bool(train.preferences):
        raise PolicyError(
            f"policy.latent, train.preferences: found {settings.latent} and {train.preferences!r}, allowed both or neither: "
            "a wish is learned from a column that says which episodes are preferred"
        )
    shape = shape_of(episodes, settings.tokens == 0)
    kept, held_out = list(episodes[: len(episodes) - train.holdout]), episodes[len(episodes) - train.holdout :]
    if not kept:
        raise PolicyError(f"train.holdout: found {train.holdout}, allowed 0..{len(episodes) - 1} for {len(episodes)} episodes")
    with team_of(train) as team:
        train = replace(train, parts=train.parts or team.size)
        torch.set_num_threads(max(1, train.threads))
        torch.manual_seed(train.seed)
        frames, policy = frames_of(kept, settings, train.weights, train.preferences), ChunkPolicy(shape, settings)
        weight = set_statistics(policy, frames)
        prdc = prdc_of(kept, settings, train, team.device) if train.prdc else None
        digest = data_hash(kept, train.weights, train.preferences)
        card = Card(settings, train, kept[0].joint_names, shape.cameras, kept[0].instruction, digest, len(frames))
        card = card if prdc is None else replace(card, critic_sha256=prdc.sha256)
        run = _Run(ChunkLoss(policy, weight, train, prdc), card, out, team)
        run.loop(frames, frames_of(held_out, settings) if held_out else None)
        run.finish(held_out)
        team.wait()
    return out


class ChunkLoss(nn.Module):
    """The loss as a module: what DDP and FSDP wrap, so that a policy's own methods stay what they are."""

    def __init__(self, policy: ChunkPolicy, weight: Tensor, train: TrainSettings, prdc: Prdc | None = None) -> None:
        super().__init__()
        self.policy, self.train_settings, self.prdc = policy, train, prdc
        self.register_buffer("weight", weight)

    def forward(self, batch: Batch) -> Tensor:
        """The mean over the batch."""
        return loss_of(self.policy, batch, self.get_buffer("weight"), self.train_settings, self.prdc)


class _Run:
    """The moving parts of one training run: weights, their running average, optimiser, step."""

    def __init__(self, chunk_loss: ChunkLoss, card: Card, out: Path, team: Team) -> None:
        self.policy, self.card, self.train, self.out, self.team = chunk_loss.policy, card, card.train, out, team
        self.step, self.loss, self.norm, self.spent_s = 0, float("nan"), 0.0, 0.0
        self.key = _key(card)
        self.chunk_loss = team.wrap(chunk_loss)
        self.parameters = dict(self.policy.named_parameters())
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(), lr=card.train.lr, weight_decay=card.train.weight_decay, fused=True
        )
        if (saved := load_resume(out, self.key)) is not None:
            self._restore(*saved)

    def loop(self, frames: Frames, held_out: Frames | None) -> None:
        """Step until `steps` or `minutes` are spent."""
        train, begin = self.train, time.process_time() - self.spent_s
        each = train.parts // self.team.size
        loader = Loader(frames, train, range(self.team.rank * each, (self.team.rank + 1) * each))
        watch = Watch(self.out, train, self.step, silent=self.team.rank > 0)
        with closing(loader), closing(watch):
            while self.step < train.steps:
                self.spent_s = time.process_time() - begin
                by_clock = self.team.agreed(self.spent_s / (60.0 * train.minutes)) if train.minutes > 0 else 0.0
                if by_clock >= 1.0:
                    break
                self._one(loader.batches(self.step), max(self.step / train.steps, by_clock))
                watch.step(self.step, self.loss, self.optimiser.param_groups[0]["lr"], self.norm, loader.waited_s)
                if self.step % train.save_every == 0:
                    average = self._save()
                    if held_out is not None and self.team.rank == 0:
                        watch.write(self.step, held_out_error=one_chunk_error(self._delivered(average), held_out))

    def _one(self, batches: Sequence[Batch], progress: float) -> None:
        train, team, value = self.train, self.team, 0.0
        for group in self.optimiser.param_groups:
            group["lr"] = train.lr * learning_rate(progress, self.step, train.warmup)
        self.optimiser.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches, 1):
            batch.roll_on()
            with team.later(self.chunk_loss) if number < len(batches) else nullcontext():
                loss = self.chunk_loss(batch.to(team.device)) / len(batches)
                loss.backward()
            value += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), train.clip)
        self.norm = float(team.whole(norm))
        self.optimiser.step()
        self.step += 1
        decay = min(train.ema, (1.0 + self.step) / (10.0 + self.step))
        with torch.no_grad():
            mine = [team.part(p) for p in self.average.values()]
            torch._foreach_lerp_(mine, [team.part(p) for p in self.parameters.values()], 1.0 - decay)
        value = team.mean(value)
        self.loss = value if np.isnan(self.loss) else 0.98 * self.loss + 0.02 * value

    def finish(self, held_out: Sequence[Episode]) -> None:
        """Write the result: the running average of the weights, with its figures on the episodes held out."""
        average = {name: self.team.whole(t) for name, t in self.average.items()}
        if self.team.rank == 0:
            policy = self._delivered(average)
            figures = holdout_figures(policy, held_out) | {"train_loss": self.loss}
            save_checkpoint(self.out, policy, replace(self.card, steps_done=self.step, figures=figures))
            (self.out / RESUME).unlink(missing_ok=True)

    def _delivered(self, average: dict[str, Tensor]) -> ChunkPolicy:
        """The policy as it would be handed over now: weights `average`, on the CPU, in evaluation mode."""
        policy = ChunkPolicy(self.policy.shape, self.policy.settings)
        policy.load_state_dict({name: buffer.cpu() for name, buffer in self.policy.state_dict().items()} | average)
        return policy.eval()

    def _save(self) -> dict[str, Tensor]:
        """Write what is needed to go on from this step; returns the whole running average."""
        state = {name: self.optimiser.state[p] for name, p in self.parameters.items() if p in self.optimiser.state}
        tensors = named("weight", self.parameters) | named("average", self.average)
        for part in ("exp_avg", "exp_avg_sq", "step"):
            tensors |= named(part, {name: s[part] for name, s in state.items()})
        tensors = {name: self.team.whole(t) for name, t in tensors.items()}
        average = with_prefix("average", tensors)
        tensors["run"] = torch.tensor([self.loss, self.spent_s], dtype=torch.float64)
        if self.team.rank == 0:
            save_resume(self.out, tensors, self.key, self.step)
        return average

    def _restore(self, tensors: dict[str, Tensor], step: int) -> None:
        for prefix, targets in (("weight", self.parameters), ("average", self.average)):
            for name, saved in with_prefix(prefix, tensors).items():
                self.team.fill(targets[name], saved)
        steps = with_prefix("step", tensors)
        for name, parameter in self.parameters.items():
            if name in steps:  # what no loss reaches (the foresight, when it is not asked for) has no state
                state = {"step": steps[name].to(self.team.device)}
                for part in ("exp_avg", "exp_avg_sq"):
                    state[part] = torch.zeros_like(parameter)
                    self.team.fill(state[part], tensors[f"{part}.{name}"])
                self.optimiser.state[parameter] = state
        self.step, (self.loss, self.spent_s) = step, tensors["run"].tolist()


def _key(card: Card) -> str:
    """sha256 of all that the result depends on."""
    found = asdict(card)
    for aside in ("save_every", "log_every", "prefetch"):
        del found["train"][aside]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def learning_rate(progress: float, step: int, warmup: int) -> float:
    """Share of the full learning rate: linear warm-up, then half a cosine down to zero at `progress` 1."""
    return min(1.0, (step + 1) / max(1, warmup)) * 0.5 * (1.0 + float(np.cos(np.pi * progress)))


def loss_of(policy: ChunkPolicy, batch: Batch, weight: Tensor, train: TrainSettings, prdc: Prdc | None = None) -> Tensor:
    """Mean loss of `batch`. Noise on the joints moves the input, not the target: the chunk learns to lead back.

    With `foresight` the pictures alone must also say where the joints will be, seconds ahead: demonstrated joints tell the next
    chunk so well that the eyes would learn little from the chunk alone.
    """
    device = batch.q.device
    q = batch.q + train.joint_noise * policy.joint_std * batch.jolt
    joints = policy.joint_inputs(q, batch.qd if policy.settings.velocity else None)
    centre = policy.centre(joints)
    modes = policy.to_modes(batch.chunk - q[:, None], centre)
    with device if device.type != "cpu" else nullcontext(), torch.autocast(device.type, torch.bfloat16, enabled=train.bfloat16):
        seen = policy.encoder.look(batch.pictures)
        condition = policy.encoder(seen, policy.wishing(joints, batch.path), batch.tokens)
        if prdc is None:
            loss = policy.loss(condition, modes.repeat(train.repeats, 1, 1), weight)
        else:
            loss = prdc.loss(policy, condition, centre, batch, q, weight)
        if train.foresight > 0.0:
            ahead = (batch.ahead - policy.joint_mean) / policy.joint_std
            loss = loss + train.foresight * (policy.foreseen(seen) - ahead).square().mean()
        if policy.wish is not None:
            loss = loss + policy.wish.loss(batch.liked, batch.other, batch.margin)
    return loss


def batch_loss(policy: ChunkPolicy, frames: Frames, weight: Tensor, train: TrainSettings) -> Tensor:
    """`loss_of` one batch drawn by torch's own generator."""
    return loss_of(policy, draw(frames, train.batch, train, torch.default_generator), weight, train)
