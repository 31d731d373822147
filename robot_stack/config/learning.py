"""The settings of a policy and of its training, part of `schema.py`."""

from dataclasses import dataclass

from robot_stack.config.bounds import at_least
from robot_stack.errors import ConfigError

POLICIES = ("flow", "flow_one_step", "diffusion", "streaming", "bc", "bc_rnn", "carp", "vla")
DENOISERS = ("mlp", "unet", "transformer")
BASES = ("cosine", "rows")
DEVICES = ("auto", "cpu")
ENCODERS = ("conv", "resnet18", "vit", "tower")


@dataclass(frozen=True)
class PolicySettings:
    """A chunk policy; `name` is its head. `rows` T at `rate_hz`; `candidates` N at run time; `steps` of sampling, unrolled.

    `modes`: how many cosine modes of the chunk are sampled (0: all T), or with `basis: rows` its rows as they are;
    `velocity`: joint speeds are an input too; `keypoints` per camera (0: a grid of cells instead);
    `noise_scale` of the samples (1: as trained, 0: the most likely one).
    `linear_prior` > 0: penalty (per sample) of a ridge regression on the joints that chunks are sampled around.
    `encoder` of the pictures: conv (small), resnet18, vit or tower, the vision model in the folder `tower`, which is trained
    along unless `tower_frozen`; vla has its own.
    `denoiser` of flow, flow_one_step, diffusion and streaming: mlp, unet (1-D over `basis: rows`) or transformer.
    diffusion, streaming: `noise_levels` of training; a predicted clean chunk is clipped at `clip_sample` std. streaming: the
    plan becomes noisier from each of `blocks` to the next. bc, bc_rnn: `mixture` of so many Gaussians (bc, 0: one mean), none
    narrower than `std_min`. carp: `codes` of `code_size` numbers in `steps` scales.
    vla: `width` and `depth` of the prefix, with hidden layers `spread` times as wide; an instruction has up to `tokens` bytes;
    `expert_width` is the action expert's. vla and vit: pictures are cut into squares of `patch` pixels.
    vla, vit, carp and transformer: `heads` of `head_size`.
    `latent` > 0: a wish of so many numbers is an input too (OPPO), learned from `train.preferences`.
    """

    name: str = "flow"
    rows: int = 16
    rate_hz: float = 20.0
    image_height: int = 96
    image_width: int = 96
    width: int = 256
    depth: int = 4
    steps: int = 6
    candidates: int = 16
    modes: int = 0
    basis: str = "cosine"
    velocity: bool = False
    keypoints: int = 32
    dropout: float = 0.0
    noise_scale: float = 1.0
    linear_prior: float = 0.0
    denoiser: str = "mlp"
    noise_levels: int = 100
    clip_sample: float = 5.0
    mixture: int = 5
    std_min: float = 0.05
    blocks: int = 2
    codes: int = 512
    code_size: int = 16
    encoder: str = "conv"
    tower: str = ""
    tower_frozen: bool = True
    latent: int = 0
    patch: int = 12
    tokens: int = 0
    heads: int = 4
    head_size: int = 32
    spread: int = 4
    expert_width: int = 128

    def __post_init__(self) -> None:
        for key, allowed in (("name", POLICIES), ("denoiser", DENOISERS), ("basis", BASES), ("encoder", ENCODERS)):
            if (value := getattr(self, key)) not in allowed:
                raise ConfigError(f"policy.{key}: found {value!r}, allowed {', '.join(allowed)}")
        if (self.tokens > 0) != (self.name == "vla"):
            needed = "1 or more" if self.name == "vla" else "0: only vla reads the instruction"
            raise ConfigError(f"policy.tokens: found {self.tokens}, allowed {needed}")
        levels = self.noise_levels if self.name in ("diffusion", "streaming") else 1000
        if not 1 <= self.steps <= levels:
            raise ConfigError(f"policy.steps: found {self.steps}, allowed 1..{levels}")
        if not 0 <= self.modes <= self.rows:
            raise ConfigError(f"policy.modes: found {self.modes}, allowed 0..{self.rows} (policy.rows)")
        self._check_head()
        self._check_encoder()

    def _check_head(self) -> None:
        """What only some heads ask for."""
        if self.name == "bc_rnn" and self.mixture < 1:
            raise ConfigError(f"policy.mixture: found {self.mixture}, allowed 1 or more for bc_rnn")
        if self.name in ("streaming", "carp") and self.basis != "rows":
            raise ConfigError(f"policy.basis: found {self.basis!r}, allowed 'rows' for {self.name}, which tells times apart")
        if self.name == "streaming" and self.denoiser == "mlp":
            raise ConfigError("policy.denoiser: found 'mlp', allowed unet, transformer: each row has a noise level of its own")

    def _check_encoder(self) -> None:
        """Which encoders go with what."""
        if self.name == "vla" and self.encoder != "conv":
            raise ConfigError(f"policy.encoder: found {self.encoder!r}, allowed 'conv': vla cuts the pictures itself")
        if (self.encoder == "tower") != bool(self.tower):
            needed = "the folder of a vision model" if self.encoder == "tower" else "'': only encoder=tower reads it"
            raise ConfigError(f"policy.tower: found {self.tower!r}, allowed {needed}")


@dataclass(frozen=True)
class TrainSettings:
    """Training of a policy. `minutes` > 0 of processor time stop it early (0: `steps` alone do, which is reproducible).

    The last `holdout` episodes are never trained on. `repeats`: noise draws per encoded frame. Augmentation: `shift` pixels of
    the resized image, `colour` (share of brightness and contrast), `joint_noise` (share of each joint's std; the target stays).
    `foresight`: weight of an auxiliary loss, the pictures alone must foretell the joints. `bfloat16`: the networks of training
    in half precision (weights stay in full), a third faster on a CPU that has it. `weights`: the column of the dataset that says
    how often each sample is drawn, in proportion ("": all alike): in the mean the loss is weighted by it (`robot-stack relabel`).
    `preferences`: the column whose mean says which of two episodes is preferred, for a policy with `policy.latent`.
    `prdc`: the folder of a critic (`critic.out` of `robot-stack relabel critic`), for a bc with one mean: instead of cloning, it
    does what Q prefers, `prdc_alpha` of it, near what was done in states like this, where likeness counts `prdc_beta`.
    `save_every` steps the run is saved to go on from after a stop; every `log_every` TensorBoard's log has a line (0: no log).
    `prefetch`: a thread draws the next batch meanwhile. Under torchrun `batch` is that of all processes together; `parts`: in so
    many it is drawn (0: one a process), and 4 give the same run with 1, 2 and 4 processes, up to rounding. `sharded`: processes
    share one copy of the weights (FSDP) instead of having one each (DDP). `device`: auto (a GPU, where torch finds one) or cpu.
    """

    steps: int = 3000
    batch: int = 64
    lr: float = 5e-4
    seed: int = 0
    holdout: int = 4
    ema: float = 0.995
    minutes: float = 0.0
    threads: int = 1
    repeats: int = 4
    weight_decay: float = 1e-4
    clip: float = 1.0
    warmup: int = 100
    shift: int = 2
    colour: float = 0.15
    joint_noise: float = 0.02
    bfloat16: bool = False
    foresight: float = 0.0
    save_every: int = 500
    weights: str = ""
    preferences: str = ""
    prdc: str = ""
    prdc_alpha: float = 2.5
    prdc_beta: float = 2.0
    log_every: int = 50
    prefetch: bool = True
    parts: int = 0
    sharded: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        at_least("train", self, 1, "batch", "save_every", "threads", "repeats")
        at_least("train", self, 0, "steps", "holdout", "log_every", "parts", "prdc_alpha", "prdc_beta")
        if self.device not in DEVICES:
            raise ConfigError(f"train.device: found {self.device!r}, allowed {', '.join(DEVICES)}")
